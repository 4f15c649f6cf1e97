"""Launches that never became a run, and runs that died without a commit, are the next attempt."""

import pytest
from sqlalchemy import func

from contracts.reasons import ReasonCode
from contracts.states import State
from control.reconciling.reconciler import Reconciler
from resources.settings import ControlSettings
from tests.integration.reconciling.rig import PLACE, Rig
from tests.integration.worker_rows import add_launch, add_process, events, outbox_ids, process, set_columns

pytestmark = pytest.mark.anyio


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
