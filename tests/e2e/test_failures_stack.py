"""The failure map (docs/failures.md) on a real stack: each condition is made, and its bound is kept.

Runs compute without Spark, and the reconciler looks every 5 s instead of every 30.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition

from cli.client import ApiError
from contracts.cursor import Cursor, TopicPosition
from contracts.states import State
from tests.e2e.world import wait_for
from tests.light_world import RECONCILE_SECONDS, LightWorld, light_world

RUN_SECONDS = 120
"""A run ends in this time on a busy machine; it takes five seconds on an idle one."""
LATER_SECONDS = 30.0 - RECONCILE_SECONDS
"""How much later than here the reconciler looks in production: part of each bound that waits for it."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightWorld]:
    with light_world(tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.fixture(autouse=True)
def whole(world: LightWorld) -> Iterator[None]:
    """Before each test every server lives and no process is under way, whatever the one before it met."""
    wait_for("no run of an earlier test may meet an armed point", lambda: not world.under_way(), 2 * RUN_SECONDS)
    yield
    for row in world.stack.status():
        if row.state == "dead":
            world.stack.restart(row.name)


def succeeds(world: LightWorld, process_id: str, target: Any, *, attempts: int = 1) -> None:
    process = world.finish(process_id, seconds=attempts * RUN_SECONDS)
    assert (process["state"], process["attempt"]) == (State.SUCCEEDED, attempts), process
    world.assert_one_outcome(process_id, target)


def test_without_postgres_submits_are_refused_and_accepted_again_after_its_return(world: LightWorld) -> None:
    target = world.land()
    request = {"entity_id": target.entity_id, "data_version": target.data_version, "action": "keep_rows"}
    request["callback_url"] = world.receiver.url
    world.kill("postgres")
    with pytest.raises(ApiError) as refused:
        world.client.submit(request, idempotency_key="while-postgres-is-away")
    assert (refused.value.problem["status"], refused.value.code) == (503, "database_unavailable")
    assert not world.is_ready()
    world.stack.restart("postgres")
    wait_for("the API is ready again", world.is_ready, 30)
    process_id = world.client.submit(request, idempotency_key="while-postgres-is-away")["process_id"]
    succeeds(world, process_id, target)


def test_without_kafka_submits_are_accepted_and_released_after_its_return(world: LightWorld) -> None:
    world.kill("kafka")
    targets = [world.land() for _ in range(2)]
    submitted = [world.submit(target) for target in targets]
    assert {world.client.process(process_id)["state"] for process_id in submitted} == {State.ACCEPTED}
    world.stack.restart("kafka")
    wait_for("all are released", lambda: all("released" in world.events(each) for each in submitted), 60)
    for process_id, target in zip(submitted, targets, strict=True):
        succeeds(world, process_id, target)


def test_what_retention_dropped_unread_is_a_gap_and_is_driven_again(world: LightWorld) -> None:
    world.kill("code-location")
    target = world.land()
    process_id = world.submit(target)
    world.event(process_id, "released", 60)
    drop_everything(world)
    world.stack.restart("code-location")
    gaps = "SELECT 1 FROM log_gaps WHERE expected_offset < found_offset"
    wait_for("the gap is recorded", lambda: world.rows(gaps), 60)
    world.event(process_id, "resent", 60 - LATER_SECONDS)
    succeeds(world, process_id, target)


def test_a_daemon_that_dies_in_a_tick_goes_on_with_the_same_launch(world: LightWorld) -> None:
    target = world.land()
    world.arm("S3", "stop")
    process_id = world.submit(target)
    code_location = world.hit("S3", 60)
    world.kill("daemon")
    world.resume(code_location)
    world.stack.restart("daemon")
    run_of_it = "SELECT 1 FROM run_tags WHERE key = 'lakemill/process_id' AND value = :id"
    wait_for("its run is there", lambda: world.in_dagster(run_of_it, id=process_id), 60)
    succeeds(world, process_id, target)
    assert len(world.in_dagster(run_of_it, id=process_id)) == 1


def test_what_waits_in_the_run_queue_outlives_the_code_location(world: LightWorld) -> None:
    busy = [stopped_run(world) for _ in range(2)]  # all places of the queue
    target = world.land()
    process_id = world.submit(target)
    wait_for("it is in the queue", lambda: statuses(world, process_id) == ["QUEUED"], 60)
    world.stack.kill("code-location")
    os.kill(busy[0], signal.SIGKILL)
    # A run whose launcher meets no code server goes back to the queue.
    wait_for("its launch has failed", lambda: "re-submitting the run" in events_of(world, process_id), 120)
    world.stack.restart("code-location")
    succeeds(world, process_id, target)


def test_a_launch_that_the_cursor_has_passed_without_a_run_is_the_next_attempt(world: LightWorld) -> None:
    target = world.land()
    world.arm("S3", "stop")
    process_id = world.submit(target)
    code_location = world.hit("S3", 60)
    world.event(process_id, "queued", 10)
    world.kill("daemon")
    world.resume(code_location)
    pass_over(world, process_id)
    world.stack.restart("daemon")
    world.event(process_id, "attempt_failed", 60 - LATER_SECONDS)
    succeeds(world, process_id, target, attempts=2)
    assert reasons(world, process_id) == ["run_lost"]


def test_a_commit_that_nobody_was_told_of_is_found_and_dagster_hears_of_it(world: LightWorld) -> None:
    target = world.land()
    world.arm("J6", "kill")
    process_id = world.submit(target)
    world.hit("J6", RUN_SECONDS)
    world.event(process_id, "succeeded", 60 - LATER_SECONDS)
    world.event(process_id, "materialization_reported", 120 - LATER_SECONDS)
    succeeds(world, process_id, target)


def test_a_run_whose_report_meets_no_api_is_heard_after_its_return(world: LightWorld) -> None:
    target = world.land()
    world.arm("J7", "stop")
    process_id = world.submit(target)
    run = world.hit("J7", RUN_SECONDS)
    world.kill("api")
    world.resume(run)
    world.stack.restart("api")
    world.event(process_id, "succeeded", 60 - LATER_SECONDS)
    succeeds(world, process_id, target)


def test_a_run_that_dies_while_postgres_is_away_is_the_next_attempt(world: LightWorld) -> None:
    target = world.land()
    world.arm("J2", "stop")
    process_id = world.submit(target)
    run = world.hit("J2", RUN_SECONDS)
    world.kill("postgres")
    os.kill(run, signal.SIGKILL)
    # The thread of Dagster's code server that would report the dead run ends with this, for good.
    wait_for("its thread ends", lambda: "in _cleanup_thread" in world.stack.logs.tail("code-location", 500), 60)
    world.stack.restart("postgres")
    world.event(process_id, "attempt_failed", 60 - LATER_SECONDS)
    succeeds(world, process_id, target, attempts=2)
    assert reasons(world, process_id) == ["run_died"]


def test_without_the_lake_submits_are_accepted_and_attempts_fail_until_its_return(world: LightWorld) -> None:
    target = world.land()
    world.kill("s3")
    process_id = world.submit(target)
    world.event(process_id, "attempt_failed", RUN_SECONDS)
    world.stack.restart("s3")
    process = world.finish(process_id, seconds=2 * RUN_SECONDS)
    assert process["state"] == State.SUCCEEDED
    assert set(reasons(world, process_id)) == {"storage_unavailable"}
    world.assert_one_outcome(process_id, target)


def test_without_a_readable_run_storage_everything_but_the_status_goes_on(world: LightWorld) -> None:
    target = world.land()
    world.in_dagster("REVOKE SELECT ON runs FROM lakemill_reader")
    try:
        process_id = world.submit(target)
        succeeds(world, process_id, target)
        assert world.client.process(process_id)["run"] == {"status": "unavailable"}
    finally:
        world.in_dagster("GRANT SELECT ON runs TO lakemill_reader")
    assert world.client.process(process_id)["run"]["status"] in {"STARTED", "SUCCESS"}


def stopped_run(world: LightWorld) -> int:
    """Let a run of another process stop before it writes; return its process id."""
    world.arm("J2", "stop")
    world.submit(world.land())
    return world.hit("J2", RUN_SECONDS)


def statuses(world: LightWorld, process_id: str) -> list[str]:
    """Return how Dagster's runs of a process stand."""
    statement = """SELECT run.status FROM runs AS run JOIN run_tags AS tag USING (run_id)
        WHERE tag.key = 'lakemill/process_id' AND tag.value = :id"""
    return [row["status"] for row in world.in_dagster(statement, id=process_id)]


def events_of(world: LightWorld, process_id: str) -> str:
    """Return what Dagster noted of a process's runs."""
    statement = """SELECT log.event FROM event_logs AS log JOIN run_tags AS tag USING (run_id)
        WHERE tag.key = 'lakemill/process_id' AND tag.value = :id"""
    return "".join(row["event"] for row in world.in_dagster(statement, id=process_id))


def reasons(world: LightWorld, process_id: str) -> list[str]:
    """Return why attempts of a process failed, in order."""
    statement = """SELECT detail->'reason'->>'code' AS code FROM process_events
        WHERE process_id = CAST(:id AS uuid) AND kind = 'attempt_failed' ORDER BY id"""
    return [row["code"] for row in world.rows(statement, {"id": process_id})]


def drop_everything(world: LightWorld) -> None:
    """Let the broker delete every record of the topic, as retention does with old ones."""
    topic = world.settings.kafka_topic
    admin = KafkaAdminClient(bootstrap_servers=world.settings.kafka_bootstrap)
    partitions = admin.describe_topics([topic])[0]["partitions"]
    admin.delete_records({TopicPartition(topic, each["partition_index"]): -1 for each in partitions})  # -1: to its end
    admin.close()


def pass_over(world: LightWorld, process_id: str) -> None:
    """Move the sensor's cursor behind the record of a process, as an operator may in Dagster's UI."""
    (at,) = world.rows("SELECT * FROM launches WHERE process_id = CAST(:id AS uuid)", {"id": process_id})
    place = TopicPosition(topic_id=at["topic_id"], next_offsets={at["log_partition"]: at["log_offset"] + 1})
    selector = {
        "repositoryLocationName": "lakemill",
        "repositoryName": "__repository__",
        "sensorName": "process_requests",
    }
    mutation = """mutation($sensor: SensorSelector!, $cursor: String) {
      setSensorCursor(sensorSelector: $sensor, cursor: $cursor) { __typename } }"""
    cursor = Cursor(topics={world.settings.kafka_topic: place}).encode()
    answer = world.ask_dagster(mutation, sensor=selector, cursor=cursor)
    assert answer["setSensorCursor"]["__typename"] == "Sensor", answer
