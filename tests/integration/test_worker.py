"""The worker as a whole: in one process with fakes around it, and as the program that a deployment starts."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from contracts.identity import Coordinate
from contracts.reasons import Reason, ReasonCode
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from control.tables import deliveries
from control.transitions import move
from control.worker import Ports, work
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import GuardedSender
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeGraphQL, FakeRuns
from tests.integration.memory_lake import MemoryLake
from tests.integration.worker_rows import SECRET, add_launch, add_process, add_tenant, kinds, process
from tests.memory_log import MemoryLog
from tests.receiver import answering, receiver

pytestmark = pytest.mark.anyio
REASON = Reason(code=ReasonCode.ACTION_RAISED, message="ValueError: no").model_dump(mode="json")
LAKE_SECRET = "canary-of-the-lake"


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 30) -> None:
    """Return when ``condition`` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        await asyncio.sleep(0.02)


async def failed_process(db: Database, url: str) -> None:
    await add_tenant(db, DEFAULT_TENANT)
    process_id = await add_process(db, callback_url=url)
    async with db.transaction() as conn:
        await move(conn, process_id, State.FAILED, actor="test", columns={"reason": REASON})


async def delivered(db: Database) -> int:
    async with db.transaction() as conn:
        query = select(func.count()).select_from(deliveries).where(deliveries.c.state == "delivered")
        return int((await conn.execute(query)).scalar_one())


async def test_a_process_goes_all_the_way(db: Database, settings: ControlSettings, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    quick = {"reconcile_interval": 0.1, "release_interval": 0.05, "worker_heartbeat_file": heartbeat}
    lake, runs, log, stop = MemoryLake(), FakeRuns(), MemoryLog(), asyncio.Event()
    sender = GuardedSender(parse_networks(("127.0.0.0/8",)))
    ports = Ports(settings.model_copy(update=quick), db, log, lake, sender, runs, FakeGraphQL())
    await add_tenant(db, DEFAULT_TENANT)
    async with receiver(answering("200 OK")) as hooks, asyncio.timeout(60):
        working = asyncio.create_task(work(ports, stop))
        process_id = await add_process(db, callback_url=hooks.url)

        async def is_released() -> bool:
            return (await process(db, process_id))["released_at"] is not None

        async def is_delivered() -> bool:
            return await delivered(db) == 1 and heartbeat.exists()

        await until(is_released, "the release")
        runs.add(await add_launch(db, process_id), "STARTED")
        row = await process(db, process_id)
        lake.commit(Coordinate(row["entity_id"], row["data_version"], row["dataset"]), process_id)
        await until(is_delivered, "the callback")
        stop.set()
        await working
    assert await kinds(db, process_id) == ["accepted", "released", "succeeded", "callback_delivered"]
    assert [json.loads(request.body)["type"] for request in hooks.requests] == ["process.succeeded"]


@asynccontextmanager
async def program(database_url: SecretStr, folder: Path, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start ``python -m control.worker`` where neither Kafka, nor the lake, nor Dagster answers."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LAKEMILL_")},
        "LAKEMILL_STATE_DIR": str(folder),
        "LAKEMILL_DATABASE_URL": database_url.get_secret_value(),
        "LAKEMILL_DAGSTER_DATABASE_URL": "postgresql+asyncpg://reader:canary-of-dagster@127.0.0.1:1/dagster",
        "LAKEMILL_INTERNAL_SECRET": "internal-secret-canary-0123456789",
        "LAKEMILL_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "LAKEMILL_S3_ENDPOINT": "http://127.0.0.1:1",
        "LAKEMILL_S3_ACCESS_KEY": "key",
        "LAKEMILL_S3_SECRET_KEY": LAKE_SECRET,
        "LAKEMILL_CALLBACK_ALLOW": "127.0.0.0/8",
        "LAKEMILL_WORKER_HEARTBEAT_FILE": str(folder / "heartbeat"),
        **more,
    }
    with (folder / "log").open("wb") as log:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control.worker", env=environment, stderr=log
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def test_callbacks_go_on_while_everything_else_is_down(
    db: Database, database_url: SecretStr, tmp_path: Path
) -> None:
    await add_process(db)
    async with receiver(answering("200 OK")) as hooks:
        await failed_process(db, hooks.url)
        async with program(database_url, tmp_path) as worker:

            async def is_well() -> bool:
                return await delivered(db) == 1 and (tmp_path / "heartbeat").exists()

            await until(is_well, "the callback and the heartbeat", 60)
            worker.send_signal(signal.SIGTERM)
            async with asyncio.timeout(15):
                await worker.wait()
    written = (tmp_path / "log").read_text()
    events = [json.loads(line)["event"] for line in written.splitlines() if line.startswith("{")]
    assert events.count("loop.outage") <= 1
    assert events.count("dagster_runs.unavailable") == 1
    assert not [word for word in ("canary", LAKE_SECRET, SECRET) if word in written]


@pytest.mark.parametrize(("point", "arrived"), [("C1", 0), ("C2", 1), ("C3", 1)])
async def test_a_worker_killed_around_a_callback_sends_it_again_under_its_id(
    db: Database, database_url: SecretStr, tmp_path: Path, point: str, arrived: int
) -> None:
    (tmp_path / point).write_text("kill")
    async with receiver(answering("200 OK")) as hooks:
        await failed_process(db, hooks.url)
        async with program(database_url, tmp_path, LAKEMILL_FAULTS_DIR=str(tmp_path)) as worker:
            assert await worker.wait() == -signal.SIGKILL

        async def has_arrived() -> bool:
            return len(hooks.requests) == arrived  # the kernel still hands over what was sent

        await until(has_arrived, "what was sent")
        assert await delivered(db) == 0
        async with db.transaction() as conn:
            await conn.execute(update(deliveries).values(next_try_at=func.now()))  # the lease is over
        async with program(database_url, tmp_path):

            async def is_delivered() -> bool:
                return await delivered(db) == 1

            await until(is_delivered, "the callback", 60)
        assert len(hooks.requests) == arrived + 1
        assert len({request.headers["webhook-id"] for request in hooks.requests}) == 1


async def test_a_worker_without_work_stops_at_once_and_well(database_url: SecretStr, tmp_path: Path) -> None:
    async with program(database_url, tmp_path) as worker:

        async def is_up() -> bool:
            return (tmp_path / "heartbeat").exists()

        await until(is_up, "the heartbeat", 60)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert await worker.wait() == 0
        assert time.monotonic() - began < 5


async def test_a_database_that_is_away_is_an_outage_and_not_the_end(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = SecretStr(f"postgresql+asyncpg://u:canary@127.0.0.1:{taken.getsockname()[1]}/none")
        async with program(url, tmp_path) as worker:

            async def is_told() -> bool:
                return "loop.outage" in (tmp_path / "log").read_text()

            await until(is_told, "the outage", 60)
            assert worker.returncode is None
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait() == 0
    assert "canary" not in (tmp_path / "log").read_text()


async def test_a_missing_setting_is_named_and_ends_it(tmp_path: Path) -> None:
    async with program(SecretStr(""), tmp_path, LAKEMILL_INTERNAL_SECRET="short") as worker:
        assert await worker.wait() == 1
    assert "internal_secret" in (tmp_path / "log").read_text()
