"""The reconciler on a real PostgreSQL: what each of its rules does to a process, and what it leaves alone."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from contracts.cursor import Cursor, TopicPosition
from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.states import State
from control.log_position import note_cursor
from control.materializations import report_lost_materializations
from control.reconcile_rules import RESEND_SECONDS
from control.reconciler import BATCH, Reconciler
from control.release import release_once
from control.tables import deliveries
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeEvents, FakeRuns
from tests.integration.control_plane import MemoryLake
from tests.integration.worker_rows import (
    TOPIC_ID,
    add_launch,
    add_process,
    events,
    kinds,
    outbox_ids,
    process,
    set_columns,
)
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
PLACE: dict[str, Any] = {"topic_id": TOPIC_ID, "log_partition": 0, "log_offset": 4}


class Rig:
    """A reconciler over a real database, with a lake and a Dagster that a test sets up."""

    def __init__(self, db: Database, settings: ControlSettings) -> None:
        self.db = db
        self.lake = MemoryLake()
        self.runs = FakeRuns()
        self.reconciler = Reconciler(db, self.lake, self.runs, settings)

    async def queued(self, *, offset: int = 4) -> tuple[UUID, UUID]:
        """A process whose launch came from the record at ``offset``."""
        process_id = await add_process(self.db, **PLACE, released_at=func.now())
        return process_id, await add_launch(self.db, process_id, offset=offset)

    async def persist(self, offset: int, topic_id: str = TOPIC_ID) -> None:
        """Let the sensor tell that Dagster has stored this cursor."""
        position = TopicPosition(topic_id=topic_id, next_offsets={0: offset})
        async with self.db.transaction() as conn:
            await note_cursor(conn, Cursor(topics={"lakemill.processes": position}))

    async def commit(self, process_id: UUID, owner: UUID | None = None, attempt: int = 1) -> None:
        row = await process(self.db, process_id)
        place = Coordinate(row["entity_id"], row["data_version"], row["dataset"])
        self.lake.commit(place, owner or process_id, attempt)

    async def run(self) -> int:
        return await self.reconciler.reconcile()

    async def state(self, process_id: UUID) -> tuple[State, int]:
        row = await process(self.db, process_id)
        return State(row["state"]), row["attempt"]


@pytest.fixture
def rig(db: Database, settings: ControlSettings) -> Rig:
    return Rig(db, settings)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
async def test_a_commit_finishes_its_process_whatever_else_is_so(rig: Rig, state: State) -> None:
    process_id, launch_id = await rig.queued()
    await set_columns(
        rig.db,
        process_id,
        state=state.value,
        callback_url="https://hooks.example/",
        deadline_at=func.now() - timedelta(days=1),
    )
    rig.runs.add(launch_id, "FAILURE")
    await rig.persist(9)
    await rig.commit(process_id)
    assert await rig.run() == 1
    row = await process(rig.db, process_id)
    assert (row["state"], row["artifact"]["rows"]) == (State.SUCCEEDED, 3)
    async with rig.db.transaction() as conn:
        assert await conn.scalar(select(func.count()).select_from(deliveries)) == 1
    assert await rig.run() == 0


async def test_a_late_commit_of_an_earlier_attempt_counts(rig: Rig) -> None:
    process_id = await add_process(rig.db, attempt=2)
    await rig.commit(process_id, attempt=1)
    assert await rig.run() == 1
    assert await rig.state(process_id) == (State.SUCCEEDED, 2)
    assert await outbox_ids(rig.db) == set()


async def test_a_coordinate_that_somebody_else_committed_is_refused(rig: Rig) -> None:
    process_id, _ = await rig.queued()
    await rig.commit(process_id, owner=UUID(int=1))
    await rig.run()
    row = await process(rig.db, process_id)
    assert (row["state"], row["reason"]["code"]) == (State.FAILED, ReasonCode.VERSION_ALREADY_PUBLISHED)


async def test_the_backlog_is_neither_read_from_the_lake_nor_touched(rig: Rig) -> None:
    ids = {await add_process(rig.db) for _ in range(5)}
    assert await rig.run() == 0
    assert rig.lake.asked == []
    assert await outbox_ids(rig.db) == ids


async def test_a_lost_record_goes_out_again_with_growing_patience(rig: Rig, settings: ControlSettings) -> None:
    process_id = await add_process(rig.db)
    log = MemoryLog(partitions=1)
    await release_once(rig.db, log, settings)
    released = await process(rig.db, process_id)
    await rig.persist(released["log_offset"], log.topic_id)
    assert await rig.run() == 0
    await rig.persist(released["log_offset"] + 1, log.topic_id)
    assert await rig.run() == 1
    row = await process(rig.db, process_id)
    assert (row["state"], row["attempt"], row["released_at"], row["topic_id"]) == (State.ACCEPTED, 1, None, None)
    assert await outbox_ids(rig.db) == {process_id}
    assert await rig.run() == 0
    assert await release_once(rig.db, log, settings) == 1
    await rig.persist(released["log_offset"] + 2, log.topic_id)
    assert await rig.run() == 1
    assert await release_once(rig.db, log, settings) == 0
    lost = [event["detail"] for event in await events(rig.db, process_id) if event["kind"] == "resent"]
    assert [detail["again_in_seconds"] for detail in lost] == list(RESEND_SECONDS[:2])


async def test_a_recreated_topic_sends_its_records_again(rig: Rig) -> None:
    process_id = await add_process(rig.db, **PLACE, released_at=func.now())
    await rig.persist(0, "another-topic")
    assert await rig.run() == 1
    assert await outbox_ids(rig.db) == {process_id}


async def test_a_cursor_of_another_topic_from_before_the_release_says_nothing(rig: Rig) -> None:
    await rig.persist(9, "another-topic")
    process_id = await add_process(rig.db, **PLACE, released_at=func.now())
    assert await rig.run() == 0
    assert await rig.state(process_id) == (State.ACCEPTED, 1)


async def test_a_cursor_of_another_topic_name_says_nothing(rig: Rig) -> None:
    await add_process(rig.db, **PLACE, released_at=func.now())
    async with rig.db.transaction() as conn:
        position = TopicPosition(topic_id=TOPIC_ID, next_offsets={0: 99})
        await note_cursor(conn, Cursor(topics={"direct": position}))
    assert await rig.run() == 0


@pytest.mark.parametrize("status", [None, "NOT_STARTED"])
async def test_a_launch_that_never_became_a_run_is_the_next_attempt(rig: Rig, status: str | None) -> None:
    process_id, launch_id = await rig.queued(offset=4)
    if status:
        rig.runs.add(launch_id, status)
    await rig.persist(4)
    assert await rig.run() == 0
    await rig.persist(5)
    assert await rig.run() == 1
    assert await rig.state(process_id) == (State.ACCEPTED, 2)
    assert await outbox_ids(rig.db) == {process_id}
    failed = [event for event in await events(rig.db, process_id) if event["kind"] == "attempt_failed"]
    assert failed[0]["detail"]["reason"]["code"] == ReasonCode.RUN_LOST
    assert failed[0]["actor"] == "reconciler"


@pytest.mark.parametrize("status", ["QUEUED", "STARTING", "STARTED", "CANCELING"])
async def test_a_run_that_lives_is_left_alone(rig: Rig, status: str) -> None:
    process_id, launch_id = await rig.queued()
    rig.runs.add(launch_id, status)
    await rig.persist(9)
    assert await rig.run() == 0
    assert await rig.state(process_id) == (State.QUEUED, 1)


@pytest.mark.parametrize("configured", [True, False])
async def test_without_dagsters_storage_no_attempt_is_given_up(
    rig: Rig, settings: ControlSettings, *, configured: bool
) -> None:
    process_id, launch_id = await rig.queued()
    rig.runs.add(launch_id, "FAILURE")
    rig.runs.is_away = True
    await rig.persist(9)
    committed, _ = await rig.queued()
    await rig.commit(committed)
    reconciler = Reconciler(rig.db, rig.lake, rig.runs if configured else None, settings)
    assert await reconciler.reconcile() == 1
    assert await rig.state(process_id) == (State.QUEUED, 1)
    assert await rig.state(committed) == (State.SUCCEEDED, 1)


async def test_a_newer_run_that_the_gate_stopped_does_not_end_the_one_that_computes(rig: Rig) -> None:
    process_id, launch_id = await rig.queued()
    await set_columns(rig.db, process_id, state=State.RUNNING.value, run_id="run-1")
    rig.runs.add(launch_id, "STARTED", "run-1")
    rig.runs.add(launch_id, "SUCCESS", "run-2")
    await rig.persist(9)
    assert await rig.run() == 0
    assert await rig.state(process_id) == (State.RUNNING, 1)
    rig.runs.add(launch_id, "FAILURE", "run-1")
    rig.runs.add(launch_id, "STARTED", "run-3")
    assert await rig.run() == 1
    assert await rig.state(process_id) == (State.ACCEPTED, 2)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
@pytest.mark.parametrize("status", ["FAILURE", "CANCELED", "SUCCESS"])
async def test_a_dead_run_without_a_commit_is_the_next_attempt(rig: Rig, state: State, status: str) -> None:
    process_id, launch_id = await rig.queued()
    await set_columns(rig.db, process_id, state=state.value)
    rig.runs.add(launch_id, status, "run-dead")
    assert await rig.run() == 1
    assert await rig.state(process_id) == (State.ACCEPTED, 2)
    failed = [event for event in await events(rig.db, process_id) if event["kind"] == "attempt_failed"]
    assert failed[0]["detail"]["reason"]["code"] == ReasonCode.RUN_DIED
    assert "run-dead" in failed[0]["detail"]["reason"]["message"]
    assert failed[0]["detail"]["run_status"] == status


async def test_the_last_dead_run_ends_the_process_with_its_reason(rig: Rig, settings: ControlSettings) -> None:
    process_id = await add_process(rig.db, attempt=settings.max_attempts, released_at=func.now(), **PLACE)
    launch_id = await add_launch(rig.db, process_id, attempt=settings.max_attempts)
    rig.runs.add(launch_id, "FAILURE")
    await rig.run()
    row = await process(rig.db, process_id)
    assert (row["state"], row["reason"]["code"]) == (State.FAILED, ReasonCode.RUN_DIED)


async def test_a_run_of_an_earlier_attempt_says_nothing_of_this_one(rig: Rig) -> None:
    process_id, first = await rig.queued()
    rig.runs.add(first, "FAILURE")
    await set_columns(rig.db, process_id, attempt=2)
    await add_launch(rig.db, process_id, attempt=2, offset=8)
    assert await rig.run() == 0
    assert await rig.state(process_id) == (State.QUEUED, 2)


async def test_a_passed_deadline_expires_a_waiting_process(rig: Rig) -> None:
    process_id = await add_process(rig.db, deadline_at=func.now() - timedelta(seconds=1))
    assert await rig.run() == 1
    row = await process(rig.db, process_id)
    assert (row["state"], row["reason"]["code"]) == (State.EXPIRED, ReasonCode.DEADLINE_PASSED)
    assert await outbox_ids(rig.db) == set()


async def test_nothing_ends_while_a_permit_lives(rig: Rig) -> None:
    process_id, launch_id = await rig.queued()
    rig.runs.add(launch_id, "STARTED")
    past, soon = func.now() - timedelta(seconds=1), func.now() + timedelta(seconds=60)
    await set_columns(rig.db, process_id, state="running", deadline_at=past, permit_until=soon, permit_token="t")
    await rig.run()
    await rig.run()
    row = await process(rig.db, process_id)
    assert (row["state"], row["ending"]["state"]) == (State.RUNNING, State.EXPIRED)
    await set_columns(rig.db, process_id, permit_until=func.now() - timedelta(seconds=30))
    assert await rig.run() == 1
    assert await rig.state(process_id) == (State.EXPIRED, 1)


async def test_a_commit_under_the_last_permit_beats_the_decided_end(rig: Rig) -> None:
    process_id, _ = await rig.queued()
    ending = {"state": "cancelled", "reason": None, "actor": "test"}
    await set_columns(rig.db, process_id, ending=ending, permit_until=func.now() - timedelta(seconds=30))
    await rig.commit(process_id)
    assert await rig.run() == 1
    assert await rig.state(process_id) == (State.SUCCEEDED, 1)


async def test_a_lake_that_is_down_ends_nothing_and_the_next_pass_does(rig: Rig) -> None:
    expired = await add_process(rig.db, deadline_at=func.now() - timedelta(seconds=1))
    committed, _ = await rig.queued()
    await rig.commit(committed)
    lost = await add_process(rig.db, **PLACE, released_at=func.now())
    await rig.persist(9)
    rig.lake.is_down = True
    await rig.run()
    assert (await process(rig.db, expired))["state"] == State.ACCEPTED
    assert (await process(rig.db, committed))["state"] == State.QUEUED
    assert lost in await outbox_ids(rig.db)
    rig.lake.is_down = False
    await rig.run()
    assert await rig.state(expired) == (State.EXPIRED, 1)
    assert await rig.state(committed) == (State.SUCCEEDED, 1)


async def test_a_pass_that_a_silent_lake_delays_ends_and_still_does_what_needs_no_lake(
    rig: Rig, settings: ControlSettings
) -> None:
    asking = [(await rig.queued())[0] for _ in range(30)]
    lost = await add_process(rig.db, **PLACE, released_at=func.now())
    await rig.persist(9)
    rig.lake.is_down = True
    hours = iter(range(0, 10_000_000, 3600))
    impatient = Reconciler(rig.db, rig.lake, rig.runs, settings, clock=lambda: next(hours))
    assert await impatient.reconcile() == 1
    assert await outbox_ids(rig.db) == {lost}
    assert 0 < len(rig.lake.asked) < len(asking)


async def test_two_reconcilers_at_once_are_one(rig: Rig, settings: ControlSettings) -> None:
    ids = []
    for _ in range(20):
        process_id, launch_id = await rig.queued()
        rig.runs.add(launch_id, "FAILURE")
        ids.append(process_id)
    other = Reconciler(rig.db, rig.lake, rig.runs, settings)
    await asyncio.gather(rig.run(), other.reconcile())
    for process_id in ids:
        assert await rig.state(process_id) == (State.ACCEPTED, 2)
        assert (await kinds(rig.db, process_id)).count("attempt_failed") == 1


async def test_more_processes_than_one_batch_are_all_looked_at(rig: Rig) -> None:
    process_id = await add_process(rig.db, **PLACE, released_at=func.now())
    copies = "gen_random_uuid(), tenant_id, entity_id || n, data_version, dataset, action, action_digest, request"
    more = "request_hash, profile, priority, state, released_at, topic_id, log_partition, log_offset, deadline_at"
    names = copies.replace("gen_random_uuid()", "id").replace(" || n", "")
    statement = f"insert into processes ({names}, {more}) select {copies}, {more} from processes, "  # noqa: S608 - constants
    async with rig.db.transaction() as conn:
        await conn.execute(text(f"{statement} generate_series(1, {BATCH + 20}) n where id = :id"), {"id": process_id})
    await rig.persist(9)
    assert await rig.run() == BATCH + 21
    assert len(await outbox_ids(rig.db)) == BATCH + 21


async def test_dagster_is_told_of_a_snapshot_whose_run_died_after_the_commit(rig: Rig) -> None:
    process_id, launch_id = await rig.queued()
    rig.runs.add(launch_id, "FAILURE", "run-1")  # the run that the commit names
    await rig.commit(process_id)
    await rig.run()
    events_to = FakeEvents()
    events_to.is_away = True
    assert await report_lost_materializations(rig.db, rig.runs, events_to) == 0
    events_to.is_away = False
    assert await report_lost_materializations(rig.db, rig.runs, events_to) == 1
    assert await report_lost_materializations(rig.db, rig.runs, events_to) == 0
    row = await process(rig.db, process_id)
    assert events_to.told == [("demo", f"v1|{row['entity_id']}")]
    assert (await kinds(rig.db, process_id))[-1] == "materialization_reported"


async def test_dagster_is_not_told_for_a_dead_run_that_another_attempt_made_good(rig: Rig) -> None:
    process_id, first = await rig.queued()
    rig.runs.add(first, "FAILURE", "run-of-attempt-one")
    await set_columns(rig.db, process_id, attempt=2)
    second = await add_launch(rig.db, process_id, attempt=2, offset=8)
    rig.runs.add(second, "SUCCESS", "run-1")
    await rig.commit(process_id, attempt=2)
    await rig.run()
    assert await rig.state(process_id) == (State.SUCCEEDED, 2)
    told = FakeEvents()
    assert await report_lost_materializations(rig.db, rig.runs, told) == 0
    rig.runs.is_away = True
    assert await report_lost_materializations(rig.db, rig.runs, told) == 0
    assert told.told == []
