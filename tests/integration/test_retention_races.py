"""Retention while others are at the same rows and runs."""

import asyncio

import pytest

from contracts.states import State
from control.retention import Pruner
from control.transitions import lock
from resources.dagster.runs import RunState
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeGraphQL
from tests.integration.retention_rig import Rig
from tests.integration.worker_rows import add_launch, set_columns

pytestmark = pytest.mark.anyio


class MetDagster(FakeGraphQL):
    """A Dagster that is asked to delete a run by two at once."""

    def __init__(self) -> None:
        super().__init__()
        self._both, self.asked = asyncio.Barrier(2), 0

    async def delete_run(self, run_id: str) -> None:
        self.asked += 1
        await self._both.wait()
        await super().delete_run(run_id)


@pytest.fixture
def rig(db: Database, settings: ControlSettings) -> Rig:
    return Rig(db, settings)


async def test_of_two_at_once_one_deletes_each_run_and_each_process(rig: Rig) -> None:
    dagster = MetDagster()
    for number in range(4):
        await rig.ended()
        await rig.ran(RunState.FAILURE, f"run-{number}")
    pruners = [Pruner(rig.db, rig.settings, rig.runs, dagster) for _ in range(2)]
    async with asyncio.timeout(10):
        gone = await asyncio.gather(*(pruner.step() for pruner in pruners))
    assert (sum(gone), await rig.ids()) == (8, set())
    assert sorted(dagster.deleted) == [f"run-{number}" for number in range(4)]
    assert dagster.asked == 8


async def test_what_somebody_else_holds_is_left_for_the_next_time(rig: Rig) -> None:
    held, _ = await rig.ended(), await rig.ended()
    async with rig.db.transaction() as rival:
        await lock(rival, held)
        assert await rig.prune() == 1
        assert await rig.ids() == {held}
    assert (await rig.prune(), await rig.ids()) == (1, set())


async def test_a_callback_that_is_asked_for_meanwhile_keeps_its_process(rig: Rig) -> None:
    class AskedAgain(FakeGraphQL):
        async def delete_run(self, run_id: str) -> None:
            await super().delete_run(run_id)
            await rig.callbacks("pending")

    process_id = await rig.ended(callback_url="https://example.com/hook")
    await rig.callbacks("delivered")
    rig.runs.add(await add_launch(rig.db, process_id), RunState.FAILURE)
    await set_columns(rig.db, process_id, state=State.FAILED.value)
    dagster = AskedAgain()
    assert await Pruner(rig.db, rig.settings, rig.runs, dagster).step() == 0
    assert (await rig.ids(), dagster.deleted) == ({process_id}, ["run-1"])
