"""The three storage servers, real ones: rights, durability over down and up, and their own processes gone after."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import psutil
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.local.ports import find_base_port
from deploy.local.stack import Stack
from deploy.local.status import State

JARS = Path(__file__).parent.parent.parent / ".lakemill" / "jars"
STORAGE = ("postgres", "s3", "kafka")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # A folder that only its owner may enter, as a clone below a private home folder is.
    parent = tmp_path_factory.mktemp("private")
    parent.chmod(0o700)
    made = Stack(parent / "state", find_base_port(), jars_dir=JARS)
    made.start(only=STORAGE)
    yield made
    made.stop()


def sql(stack: Stack, variable: str, statement: str, **options: Any) -> list[asyncpg.Record]:
    """Run one statement on the database that the variable names; ``options`` are asyncpg's."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(stack.env()[variable].replace("+asyncpg", ""), **options)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(run())


def s3(stack: Stack) -> BaseClient:
    env = stack.env()
    return boto3.client(
        "s3",
        endpoint_url=env["LAKEMILL_S3_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=env["LAKEMILL_S3_ACCESS_KEY"],
        aws_secret_access_key=env["LAKEMILL_S3_SECRET_KEY"],
    )


def send(stack: Stack, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.env()["LAKEMILL_KAFKA_BOOTSTRAP"], acks="all")
    producer.send("lakemill.processes", value, partition=0).get(timeout=20)
    producer.close(timeout=5)


def received(stack: Stack) -> bytes:
    consumer = KafkaConsumer(bootstrap_servers=stack.env()["LAKEMILL_KAFKA_BOOTSTRAP"], enable_auto_commit=False)
    partition = TopicPartition("lakemill.processes", 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := consumer.poll(timeout_ms=500).get(partition):
            consumer.close()
            return bytes(found[-1].value)
    raise AssertionError("no record came within 20 s")


def own_processes(stack: Stack) -> list[int]:
    """Every living process that works below the state folder, however it was started."""
    found = []
    for process in psutil.process_iter():
        try:
            below = str(stack.state_dir) in " ".join([process.cwd(), *process.cmdline()])
            if below and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_state_survives_down_and_up_on_other_ports(stack: Stack) -> None:
    sql(stack, "LAKEMILL_DATABASE_URL", "CREATE TABLE kept AS SELECT 'a row' AS value")
    s3(stack).put_object(Bucket="lake", Key="a/b", Body=b"an object")
    send(stack, b"a record")
    secret = stack.env()["LAKEMILL_INTERNAL_SECRET"]

    stack.stop()
    assert own_processes(stack) == []
    moved = Stack(stack.state_dir, find_base_port(), jars_dir=JARS)
    moved.start(only=STORAGE)
    try:
        assert sql(moved, "LAKEMILL_DATABASE_URL", "SELECT value FROM kept")[0]["value"] == "a row"
        assert s3(moved).get_object(Bucket="lake", Key="a/b")["Body"].read() == b"an object"
        assert received(moved) == b"a record"
        assert moved.env()["LAKEMILL_INTERNAL_SECRET"] == secret
    finally:
        moved.stop()
    stack.start(only=STORAGE)


def test_each_role_enters_its_own_database_only(stack: Stack) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        sql(stack, "LAKEMILL_DATABASE_URL", "SELECT 1", database="dagster")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        sql(stack, "LAKEMILL_DAGSTER_DATABASE_URL", "SELECT 1", database="lakemill")


def test_the_reader_reads_dagsters_runs_only_and_changes_nothing(stack: Stack) -> None:
    reader, owner = "LAKEMILL_DAGSTER_DATABASE_URL", {"user": "dagster"}
    owner["password"] = stack.env()["LAKEMILL_DAGSTER_PASSWORD"]
    sql(stack, reader, "CREATE TABLE IF NOT EXISTS runs (run_id text)", **owner)
    sql(stack, reader, "CREATE TABLE IF NOT EXISTS event_logs (id int)", **owner)
    assert sql(stack, reader, "SELECT * FROM runs") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        sql(stack, reader, "SELECT * FROM event_logs")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        sql(stack, reader, "DELETE FROM runs")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        sql(stack, reader, "DELETE FROM runs", server_settings={"default_transaction_read_only": "off"})


def test_the_lake_refuses_strangers_and_a_second_conditional_put(stack: Stack) -> None:
    client = s3(stack)
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} == {"lake", "landing", "logs"}
    client.put_object(Bucket="lake", Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="lake", Key="once", Body=b"2", IfNoneMatch="*")


def test_the_servers_listen_on_the_loopback_address_and_in_the_block_only(stack: Stack) -> None:
    base = stack.ports.base
    for name in STORAGE:
        for pid in stack.processes(name):
            listening = [c.laddr for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            assert {laddr.ip.removeprefix("::ffff:") for laddr in listening} == {"127.0.0.1"}, name
            assert all(base <= laddr.port < base + 16 for laddr in listening), name


def test_a_killed_server_is_dead_until_it_is_restarted_by_hand(stack: Stack) -> None:
    send(stack, b"before the crash")
    for name in STORAGE:
        stack.kill(name)
        stack.wait_dead(name)
    states = {row.name: row.state for row in stack.status()}
    assert {states[name] for name in STORAGE} == {State.DEAD}
    for name in STORAGE:
        stack.restart(name)
    states = {row.name: row.state for row in stack.status()}
    assert {states[name] for name in STORAGE} == {State.UP}
    assert received(stack) == b"before the crash"


def test_postgres_runs_without_the_rights_of_root(stack: Stack) -> None:
    (pid,) = stack.processes("postgres")
    assert psutil.Process(pid).uids().effective != 0
