"""``kill -9`` of anything, anywhere: nothing is lost, nothing is done twice, every process ends, one callback each."""

import signal
from contextlib import suppress
from uuid import uuid4

import pytest
from deltalake.exceptions import TableNotFoundError

from cli.client import ApiUnreachableError
from cli.demo.summary import read_by_foreigner
from contracts.states import State
from tests.e2e.world import RUN_SECONDS, World, wait_for


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("R1", id="before it sends"),
        pytest.param("R2", id="before the ack"),
        pytest.param("R3", id="between ack and mark"),
    ],
)
def test_worker_killed_around_a_release(world: World, point: str) -> None:
    target = world.land_flights()
    world.arm(point, "kill")
    process_id = world.submit(target)
    world.hit(point, 30)
    world.stack.wait_dead("worker")
    world.stack.restart("worker")
    assert world.finish(process_id)["state"] == State.SUCCEEDED
    world.assert_one_outcome(process_id, target)
    assert world.events(process_id).count("queued") == 1


def test_worker_killed_after_sending_a_callback(world: World) -> None:
    target = world.land_flights()
    process_id = world.submit(target)
    world.reach(process_id, State.RUNNING)
    world.arm("C3", "kill")
    world.hit("C3")
    world.stack.wait_dead("worker")
    world.stack.restart("worker")
    wait_for(
        "the delivery is marked",
        lambda: world.rows(
            "SELECT 1 FROM deliveries WHERE process_id = :id AND state = 'delivered'", {"id": process_id}
        ),
        90,  # the claim holds it for a minute
    )
    # Sent twice under one webhook-id: a receiver that de-duplicates sees one.
    assert world.callback_of(process_id) is not None
    world.assert_one_outcome(process_id, target)


@pytest.mark.parametrize("point", [pytest.param("B1", id="before it is stored"), pytest.param("B2", id="after")])
def test_worker_killed_while_a_backfill_expands(world: World, point: str) -> None:
    entities = [f"e2e-{uuid4().hex[:12]}" for _ in range(3)]
    asked = {"action": "ingest_flights", "data_version": "v1", "select": {"entities": entities}}
    world.arm(point, "kill")
    backfill_id = world.client.create_backfill(asked)["backfill_id"]
    world.hit(point, 30)
    world.stack.wait_dead("worker")
    world.stack.restart("worker")
    wait_for("it is expanded", lambda: world.client.backfill(backfill_id)["state"] == "expanded", 60)
    found = world.client.backfill(backfill_id)
    assert (found["looked_at"], found["skipped"], found["refused"]) == (3, 0, 0)
    made = [each["entity_id"] for each in world.client.processes(50, {"backfill_id": backfill_id})]
    assert sorted(made) == sorted(entities)
    world.client.steer_backfill(backfill_id, "cancel")
    wait_for("it is over", lambda: world.client.backfill(backfill_id)["state"] == "cancelled", 120)


@pytest.mark.parametrize(("point", "server"), [("S1", "code-location"), ("S2", "api")])
def test_sensor_or_intake_killed(world: World, point: str, server: str) -> None:
    target, key = world.land_flights(), uuid4().hex
    world.arm(point, "kill")
    with suppress(ApiUnreachableError):  # a record of before may be what it dies of
        world.submit(target, key=key)
    world.hit(point, 60)
    world.stack.wait_dead(server)
    world.stack.restart(server)
    process_id = world.submit(target, key=key)
    assert world.finish(process_id)["state"] == State.SUCCEEDED
    world.assert_one_outcome(process_id, target)
    assert len(world.token_folders(target)) == 1


def test_daemon_killed_between_intake_and_run_creation(world: World) -> None:
    target = world.land_flights()
    world.arm("S3", "stop")
    process_id = world.submit(target)
    code_location = world.hit("S3", 60)
    world.reach(process_id, State.QUEUED, seconds=10)
    world.stack.kill("daemon")
    world.stack.wait_dead("daemon")
    world.resume(code_location)
    world.stack.restart("daemon")
    assert world.finish(process_id)["state"] == State.SUCCEEDED
    world.assert_one_outcome(process_id, target)
    assert len(world.token_folders(target)) == 1, "one run only: the launch_id did not change"


@pytest.mark.parametrize(
    ("point", "attempts"),
    [
        pytest.param("J2", 2, id="before it writes"),
        pytest.param("J5", 2, id="before the commit"),
        pytest.param("P1", 2, id="between permit and PUT"),
        pytest.param("J6", 1, id="between PUT and report"),
        pytest.param("J7", 1, id="before it reports success"),
    ],
)
def test_run_killed(world: World, point: str, attempts: int) -> None:
    target = world.land_flights()
    world.arm(point, "kill")
    process_id = world.submit(target)
    world.hit(point)
    if attempts == 2:  # nothing of the dead attempt is a snapshot, whatever it has written
        assert world.commit(target) is None
        with pytest.raises(TableNotFoundError):
            read_by_foreigner(world.settings, target)
    process = world.finish(process_id, seconds=2 * RUN_SECONDS)
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == attempts
    world.assert_one_outcome(process_id, target)
    # Killed before it writes, the first attempt leaves no folder.
    assert len(world.token_folders(target)) == (1 if point == "J2" else attempts)


def test_api_killed_before_its_answer(world: World) -> None:
    target = world.land_flights()
    world.arm("A3", "kill")
    with pytest.raises(ApiUnreachableError):
        world.client.submit({**request(target), "callback_url": world.receiver.url}, idempotency_key="after-a-crash")
    world.stack.wait_dead("api")
    world.stack.restart("api")
    again = world.client.submit(
        {**request(target), "callback_url": world.receiver.url}, idempotency_key="after-a-crash"
    )
    process_id = again["process_id"]
    assert world.finish(process_id)["state"] == State.SUCCEEDED
    world.assert_one_outcome(process_id, target)
    count = world.rows("SELECT count(*) AS n FROM processes WHERE entity_id = :e", {"e": target.entity_id})
    assert count == [{"n": 1}]


def test_submits_are_accepted_while_kafka_and_dagster_are_down(world: World) -> None:
    for server in ("kafka", "daemon"):
        world.stack.kill(server, signal.SIGKILL)
        world.stack.wait_dead(server)
    target = world.land_flights()
    process_id = world.submit(target)
    assert world.client.process(process_id)["state"] == State.ACCEPTED
    world.stack.restart("kafka")
    world.stack.restart("daemon")
    assert world.finish(process_id)["state"] == State.SUCCEEDED
    world.assert_one_outcome(process_id, target)


def request(target: object) -> dict[str, str]:
    entity_id, data_version, _ = str(target).split("/")
    return {"entity_id": entity_id, "data_version": data_version, "action": "ingest_flights"}
