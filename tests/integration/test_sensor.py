"""The sensor under Dagster's real daemon and storage: what a restart, a repetition and a broken log make of it."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.scheduler.instigation import TickStatus
from kafka import KafkaAdminClient, KafkaProducer

from assets.partitions import DATA_VERSIONS, ENTITIES
from contracts.cursor import Cursor
from contracts.intake import LAUNCH_TAG
from deploy.local.site import ROOT
from resources.kafka.log import KafkaRecordLog
from resources.settings import KafkaSettings
from tests.fake_intake import launch_value
from tests.integration.sensor_location import LAUNCH_ID, WORLD, change_state, dagster, newest_tick, stored_cursor, tick
from tests.kafka_server import kafka


@pytest.fixture(autouse=True)
def fresh_world() -> None:
    WORLD.reset()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with dagster(tmp_path) as found:
        yield found


def next_tick(instance: DagsterInstance) -> TickStatus:
    # The next round must come although the last one was less than a second ago.
    change_state(instance, last_tick_timestamp=1.0, last_tick_start_timestamp=1.0)
    return tick(instance).status


def test_a_record_becomes_one_queued_run_with_its_partition(instance: DagsterInstance) -> None:
    assert tick(instance).status is TickStatus.SUCCESS
    (run,) = instance.get_runs()
    assert run.status is DagsterRunStatus.QUEUED
    assert run.job_name == "aggregate_revenue"
    assert run.tags[LAUNCH_TAG] == run.tags["dagster/run_key"] == str(LAUNCH_ID)
    assert run.tags["dagster/partition"] == "v1|cust_1"
    assert int(run.tags["dagster/max_runtime"]) > 0
    assert instance.has_dynamic_partition(DATA_VERSIONS, "v1")
    assert instance.has_dynamic_partition(ENTITIES, "cust_1")


def test_the_cursor_is_stored_behind_the_record(instance: DagsterInstance) -> None:
    tick(instance)
    places = Cursor.parse(stored_cursor(instance)).topics[WORLD.memory.topic]
    assert (places.topic_id, places.next_offsets[0]) == ("the-first-topic", 1)


def test_the_same_record_again_makes_no_second_run(instance: DagsterInstance) -> None:
    tick(instance)
    WORLD.memory.write(b"k", launch_value(LAUNCH_ID))
    assert next_tick(instance) is TickStatus.SKIPPED
    assert len(instance.get_runs()) == 1


def test_when_intake_is_away_the_tick_fails_and_the_record_is_launched_by_the_next(instance: DagsterInstance) -> None:
    WORLD.control_plane.away = True
    failed = tick(instance)
    assert failed.status is TickStatus.FAILURE
    assert failed.error is not None
    assert "ControlPlaneUnavailableError" in failed.error.to_string()
    assert stored_cursor(instance) is None
    WORLD.control_plane.away = False
    assert next_tick(instance) is TickStatus.SUCCESS
    assert len(instance.get_runs()) == 1


@pytest.mark.parametrize("point", ["TICK_HELD", "RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED"])
def test_a_daemon_killed_in_a_tick_leaves_one_run_and_then_the_cursor(tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-m", "tests.integration.sensor_location", str(tmp_path), point]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    with dagster(tmp_path) as instance:
        assert stored_cursor(instance) is None
        reserved = newest_tick(instance).reserved_run_ids_with_requests
        next_tick(instance)
        (run,) = instance.get_runs()
        assert run.status is DagsterRunStatus.QUEUED
        assert [run_id for run_id, _ in reserved] == ([] if point == "TICK_HELD" else [run.run_id])
        assert Cursor.parse(stored_cursor(instance)).topics[WORLD.memory.topic].next_offsets[0] == 1


class TestRealKafka:
    """The log's accidents must not stop the sensor."""

    @pytest.fixture(scope="class")
    def bootstrap(self) -> Iterator[str]:
        with kafka() as address:
            yield address

    @pytest.fixture
    def settings(self, bootstrap: str) -> Iterator[KafkaSettings]:
        settings = KafkaSettings(kafka_bootstrap=bootstrap, kafka_topic=f"lakemill.test.{uuid4()}")
        log = KafkaRecordLog(settings)
        WORLD.log = log
        WORLD.settings = WORLD.settings.model_copy(update={"kafka_topic": settings.kafka_topic})
        create(settings)
        yield settings
        log.close()

    def test_a_recreated_topic(self, settings: KafkaSettings, instance: DagsterInstance) -> None:
        write(settings, count=3)
        assert tick(instance).status is TickStatus.SUCCESS
        delete(settings)
        create(settings)
        write(settings, count=1)
        assert next_tick(instance) is TickStatus.SUCCESS
        assert len(instance.get_runs()) == 4

    def test_a_topic_that_is_away_for_a_while(self, settings: KafkaSettings, instance: DagsterInstance) -> None:
        write(settings, count=1)
        assert tick(instance).status is TickStatus.SUCCESS
        delete(settings)
        assert next_tick(instance) is TickStatus.FAILURE
        create(settings)
        write(settings, count=1)
        assert next_tick(instance) is TickStatus.SUCCESS
        assert len(instance.get_runs()) == 2

    def test_a_cursor_out_of_range(self, settings: KafkaSettings, instance: DagsterInstance) -> None:
        write(settings, count=1)
        tick(instance)
        stored = Cursor.parse(stored_cursor(instance))
        place = stored.topics[settings.kafka_topic]
        beyond = place.model_copy(update={"next_offsets": {0: 500}})
        change_state(instance, cursor=Cursor(topics={settings.kafka_topic: beyond}).encode())  # as an operator can
        write(settings, count=1)
        assert next_tick(instance) is TickStatus.SUCCESS
        assert len(instance.get_runs()) == 2
        assert [(gap.expected, gap.found) for gap in WORLD.control_plane.requests[-1].gaps] == [(500, 0)]
        assert Cursor.parse(stored_cursor(instance)).topics[settings.kafka_topic].next_offsets == {0: 2}


def create(settings: KafkaSettings) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    admin.create_topics({settings.kafka_topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()


def delete(settings: KafkaSettings) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    admin.delete_topics([settings.kafka_topic])
    deadline = time.monotonic() + 10
    while admin.describe_topics([settings.kafka_topic])[0]["error_code"] == 0:
        assert time.monotonic() < deadline
    admin.close()


def write(settings: KafkaSettings, count: int) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    for _ in range(count):
        producer.send(settings.kafka_topic, key=b"k", value=launch_value(uuid4())).get(10)
    producer.close(timeout=2)
