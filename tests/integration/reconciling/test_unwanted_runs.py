"""Runs of processes that ended early are ended in Dagster, those of others never."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, text

from contracts.states import State
from control.reconciling import unwanted_runs
from control.reconciling.unwanted_runs import end_unwanted_runs
from resources.dagster.runs import RunState
from resources.database import Database
from tests.fake_dagster import FakeGraphQL, FakeRuns
from tests.integration.worker_rows import add_launch, add_process, set_columns

pytestmark = pytest.mark.anyio


class Rig:
    """Processes in a real database, a Dagster that a test sets up."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.runs = FakeRuns()
        self.dagster = FakeGraphQL()

    async def launched(
        self, state: State, status: str, *, finished: str = "1 minute", launch_id: UUID | None = None
    ) -> str:
        """Add a process that ended so long ago, with a run in this status; returns the run's id."""
        process_id, run_id = await add_process(self.db), f"run-{uuid4()}"
        launch_id = await add_launch(self.db, process_id, launch_id=launch_id)
        ended = None if state is State.RUNNING else func.now() - text(f"interval '{finished}'")
        await set_columns(self.db, process_id, state=state.value, finished_at=ended)
        self.runs.add(launch_id, status, run_id)
        return run_id

    async def end(self) -> int:
        return await end_unwanted_runs(self.db, self.runs, self.dagster)


@pytest.fixture
def rig(db: Database) -> Rig:
    return Rig(db)


@pytest.mark.parametrize("state", [State.CANCELLED, State.EXPIRED])
@pytest.mark.parametrize("status", [RunState.QUEUED, RunState.STARTING, RunState.STARTED])
async def test_a_run_that_nobody_waits_for_is_ended(rig: Rig, state: State, status: RunState) -> None:
    run_id = await rig.launched(state, status)
    assert await rig.end() == 1
    assert rig.dagster.terminated == [run_id]


@pytest.mark.parametrize("status", [RunState.CANCELING, RunState.CANCELED, RunState.FAILURE, RunState.SUCCESS])
async def test_a_run_that_is_over_or_ending_is_left_alone(rig: Rig, status: RunState) -> None:
    await rig.launched(State.CANCELLED, status)
    assert await rig.end() == 0
    assert rig.dagster.terminated == []


@pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED, State.FAILED])
async def test_the_run_of_another_outcome_is_left_alone(rig: Rig, state: State) -> None:
    await rig.launched(state, RunState.STARTED)
    assert await rig.end() == 0


async def test_what_ended_long_ago_is_not_looked_at(rig: Rig) -> None:
    await rig.launched(State.CANCELLED, RunState.STARTED, finished="2 hours")
    assert await rig.end() == 0


async def test_a_shared_run_goes_on_for_the_others_that_wait_for_it(rig: Rig) -> None:
    shared = uuid4()
    await rig.launched(State.RUNNING, RunState.STARTED, launch_id=shared)
    await rig.launched(State.CANCELLED, RunState.STARTED, launch_id=shared)
    assert await rig.end() == 0


async def test_what_does_not_fit_into_one_step_is_asked_for_by_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwanted_runs, "STEP_SECONDS", 0)
    wanted = {await rig.launched(State.CANCELLED, RunState.STARTED) for _ in range(3)}
    for count in (1, 2, 3):
        assert await rig.end() == 1
        assert len(rig.dagster.terminated) == count
        for launch_id, run_id in rig.runs.known:
            if run_id in rig.dagster.terminated:
                rig.runs.add(launch_id, RunState.CANCELED, run_id)
    assert set(rig.dagster.terminated) == wanted
    assert await rig.end() == 0


async def test_dagster_is_asked_again_after_an_outage(rig: Rig) -> None:
    run_id = await rig.launched(State.CANCELLED, RunState.STARTED)
    rig.dagster.is_away = True
    assert await rig.end() == 0
    rig.dagster.is_away, rig.runs.is_away = False, True
    assert await rig.end() == 0
    rig.runs.is_away = False
    assert await rig.end() == 1
    assert rig.dagster.terminated == [run_id]
