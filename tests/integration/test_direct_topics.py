"""Producers on Kafka, whole: a plain client, a real broker, the sensor's own code, the real API, and the relay."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from pydantic import SecretStr
from sqlalchemy import select
from structlog.testing import capture_logs

from contracts.cursor import Cursor
from contracts.identity import Coordinate
from contracts.messages import ProcessRequest
from contracts.reports import Catalogue
from control.log.tables import dead_letters
from control.tables import idempotency_keys, process_events, processes
from resources.control_plane import HttpControlPlane
from resources.kafka.admin import ensure_direct_topics, ensure_topic
from resources.kafka.log import KafkaRecordLog
from resources.settings import ComputeSettings, ControlSettings
from tests.integration.control_plane import CATALOGUE
from tests.integration.direct_sensor import direct_sensor
from tests.integration.direct_world import INPUTS, World, ask, make_tenants, revenue
from tests.integration.live_api import live_api
from tests.integration.memory_lake import MemoryLake
from tests.java_producer import java_producers
from tests.kafka_server import kafka
from tests.test_architecture import ROOT

EXAMPLE = (ROOT / "deploy" / "templates" / "kafka" / "process-request.example.json").read_bytes()
PAGE = (ROOT / "docs" / "producing-on-kafka.md").read_text()


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with kafka() as address:
        yield address


@pytest.fixture
def world(bootstrap: str, database_url: SecretStr, settings: ControlSettings) -> Iterator[World]:
    name = uuid4().hex[:8]
    mine: dict[str, Any] = {
        "kafka_bootstrap": bootstrap,
        "kafka_topic": f"relay.{name}",
        "direct_topics": {f"acme.{name}": "acme", f"bolt.{name}": "bolt"},
    }
    control, lake = settings.model_copy(update=mine), MemoryLake()
    ensure_topic(control, partitions=2)
    ensure_direct_topics(control, partitions=2)
    asyncio.run(make_tenants(database_url))
    with live_api(control, lake) as (url, _):
        compute = ComputeSettings(internal_secret=control.internal_secret, api_url=url, poll_seconds=3, **mine)
        link = HttpControlPlane(compute, patience=5)
        link.publish(Catalogue.model_validate({**CATALOGUE, "actions": [*CATALOGUE["actions"], revenue()]}))
        log, producer = KafkaRecordLog(compute), KafkaProducer(bootstrap_servers=bootstrap)
        yield World(control, direct_sensor(compute, log, link), lake, producer, url)
        producer.close(timeout=5)
        log.close()


def test_the_designs_message_becomes_a_process_and_comes_back_by_the_relay(world: World) -> None:
    for dataset in INPUTS:
        world.lake.commit(Coordinate("cust_8842", "v2024.10.05", dataset), None, tenant="acme")
    world.send(EXAMPLE)
    world.ticks_until({"accepted": 1})
    (row,) = world.rows(processes)
    assert (row["tenant_id"], row["action"], row["callback_url"]) == ("acme", "aggregate_revenue", None)
    assert ProcessRequest.model_validate(row["request"]) == ProcessRequest.model_validate_json(EXAMPLE)
    assert world.release() == 1
    world.ticks_until({"launch": 1})
    (row,) = world.rows(processes)
    assert (row["state"], world.launches) == ("queued", [str(row["launch_id"])])
    events = world.rows(select(process_events).order_by(process_events.c.id))
    assert (events[0]["kind"], events[0]["actor"]) == ("accepted", f"topic:{world.topic('acme')}")
    assert {"accepted", "released", "queued"} == {event["kind"] for event in events}


def test_the_pages_producer_works_as_it_stands_there_and_twice_is_once(world: World) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 18
    for dataset in INPUTS:
        world.lake.commit(Coordinate("cust_8842", "v2024.10.05", dataset), None, tenant="acme")
    command = [sys.executable, "-c", code, world.settings.kafka_bootstrap, world.topic("acme")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.startswith(world.topic("acme"))
    world.ticks_until({"accepted": 1, "duplicate": 1})
    assert [row["entity_id"] for row in world.rows(processes)] == ["cust_8842"]


def test_the_client_of_kafka_itself_is_read_however_it_compresses(world: World) -> None:
    ways = ["none", "gzip", "snappy", "lz4", "zstd"]
    with java_producers(world.settings.kafka_bootstrap) as producer:
        for way in ways:
            producer(way)(world.topic("acme"), ask(f"by-{way}", params={"text": "x" * 1000}), f"key-{way}")
    world.ticks_until({"accepted": len(ways)})
    assert {row["entity_id"] for row in world.rows(processes)} == {f"by-{way}" for way in ways}
    assert {row["key"] for row in world.rows(idempotency_keys)} == {f"key-{way}" for way in ways}


def test_what_is_refused_becomes_a_dead_letter_with_its_code(world: World) -> None:
    world.send(ask("bolts"), "bolt")
    world.ticks_until({"accepted": 1})
    refused = {
        "idempotency_key_reused": (ask(version="v2"), "k-1"),
        "validation_failed": (ask("e-2", tenant="bolt"), None),
        "malformed_json": (b"{not json", None),
        "not_found": (ask("bolts"), None),
        "tombstone": (None, None),
        "payload_too_large": (ask("e-3", params={"x": "y" * 70_000}), None),
        "oversized": (b"x" * 1_200_000, None),
    }
    producer = KafkaProducer(bootstrap_servers=world.settings.kafka_bootstrap, max_request_size=4_000_000)
    world.producer.close(timeout=5)
    world.producer = producer
    world.send(ask(), key="k-1", partition=0)
    for value, key in refused.values():
        world.send(value, key=key, partition=0)
    world.producer.send(world.topic("acme"), ask("e-4"), headers=[("h", b"")] * 10_000, partition=0).get(10)
    world.send(ask("e-5"), partition=0)
    world.ticks_until({"accepted": 2, "dead": len(refused) + 1})
    assert world.letters() == [*refused, "oversized"]
    assert {row["entity_id"] for row in world.rows(processes)} == {"bolts", "e-1", "e-5"}


def test_a_tick_that_is_lost_is_repeated_without_doubles(world: World) -> None:
    for number in range(3):
        world.send(ask(version=f"v{number}"), partition=0)
    world.send(b"{", partition=0)
    lost = world.sensor.tick(None)  # intake has answered, and Dagster never stored the cursor
    assert lost.summary == "3 accepted, 1 dead"
    world.ticks_until({"duplicate": 3, "dead": 1})
    assert (len(world.rows(processes)), world.letters()) == (3, ["malformed_json"])


@pytest.mark.parametrize("point", ["S1", "S3"])
def test_a_sensor_that_is_killed_in_its_tick_leaves_no_double(world: World, tmp_path: Path, point: str) -> None:
    world.send(ask(), partition=0)
    world.send(b"{", partition=0)
    settings = world.settings
    environment = {
        **os.environ,
        "LAKEMILL_STATE_DIR": str(tmp_path),
        "LAKEMILL_FAULTS_DIR": str(tmp_path),
        "LAKEMILL_INTERNAL_SECRET": settings.internal_secret.get_secret_value(),
        "LAKEMILL_API_URL": world.api_url,
        "LAKEMILL_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "LAKEMILL_KAFKA_TOPIC": settings.kafka_topic,
        "LAKEMILL_DIRECT_TOPICS": ",".join(f"{topic}={tenant}" for topic, tenant in settings.direct_topics.items()),
    }
    command = [sys.executable, "-m", "tests.integration.direct_sensor", str(tmp_path / "cursor")]

    def tick() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    (tmp_path / point).write_text("kill")
    assert tick().returncode == -signal.SIGKILL
    assert not (tmp_path / "cursor").exists()
    told = tick().stdout
    assert told == ("1 accepted, 1 dead" if point == "S1" else "1 duplicate, 1 dead")
    assert (len(world.rows(processes)), world.letters()) == (1, ["malformed_json"])


def test_a_full_backlog_holds_up_its_own_partition_only_and_goes_on_when_it_has_room(world: World) -> None:
    for number in range(3):
        world.send(ask("b-1", f"v{number}"), "bolt", partition=0)
    world.ticks_until({"accepted": 1, "later": 2})
    world.send(ask("a-1"))
    world.ticks_until({"accepted": 1})
    assert world.letters() == []
    places = Cursor.parse(world.stored).topics[world.topic("bolt")]
    assert places.next_offsets == {0: 1, 1: 0}
    assert world.release() == 2
    _tick_until_bolt_has(world, 3)
    assert {row["data_version"] for row in world.rows(processes) if row["tenant_id"] == "bolt"} == {"v0", "v1", "v2"}


def _tick_until_bolt_has(world: World, count: int) -> None:
    for _ in range(20):
        world.tick()
        if len([row for row in world.rows(processes) if row["tenant_id"] == "bolt"]) == count:
            return
        world.release()
    raise AssertionError(f"bolt never had {count} processes")


def test_a_direct_topic_that_is_missing_or_made_anew_stops_nothing_else(world: World) -> None:
    admin = KafkaAdminClient(bootstrap_servers=world.settings.kafka_bootstrap)
    world.send(ask("b-1"), "bolt")
    world.ticks_until({"accepted": 1})
    admin.delete_topics([world.topic("bolt")])
    world.send(ask("a-1"))
    world.ticks_until({"accepted": 1})
    world.release()
    world.ticks_until({"launch": 2})
    ensure_direct_topics(world.settings, partitions=1)
    producer = KafkaProducer(bootstrap_servers=world.settings.kafka_bootstrap)
    world.producer.close(timeout=5)
    world.producer = producer
    world.send(ask("b-1", "v2"), "bolt")
    world.ticks_until({"accepted": 1})
    admin.close()


class NoUtf8(str):
    """A header's name that reaches the log as a byte which no UTF-8 begins with."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff"


def test_a_direct_topic_that_the_client_cannot_read_stops_nothing_else(world: World) -> None:
    world.producer.send(world.topic("bolt"), b"{}", headers=[(NoUtf8("x"), b"")], partition=0).get(10)
    world.send(ask("a-1"))
    with capture_logs() as logs:
        world.ticks_until({"accepted": 1})
        world.release()
        world.ticks_until({"launch": 1})
    told = {line["topic"] for line in logs if line["event"] == "direct_topic.unreadable"}
    assert told == {world.topic("bolt")}


def test_a_busy_topic_takes_no_turn_of_the_others(world: World) -> None:
    for number in range(1500):
        world.producer.send(world.topic("bolt"), b"{", partition=number % 2)
    world.producer.flush(10)
    world.send(ask("a-1"))
    seen = []
    for _ in range(5):
        seen.append(world.tick().summary)
        if any("accepted" in summary for summary in seen):
            break
    assert "1 accepted" in seen[-1], seen
    assert len(world.rows(dead_letters)) < 1500
