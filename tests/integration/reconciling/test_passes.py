"""One pass over many processes: all are looked at, two at once are one, a silent lake delays only what asks it."""

import asyncio

import pytest
from sqlalchemy import func

from contracts.states import State
from control.reconciling.reconciler import BATCH, Reconciler
from resources.settings import ControlSettings
from tests.integration.reconciling.rig import PLACE, Rig
from tests.integration.worker_rows import add_process, kinds, multiply, outbox_ids

pytestmark = pytest.mark.anyio


async def test_more_processes_than_one_batch_are_all_looked_at(rig: Rig) -> None:
    process_id = await add_process(rig.db, **PLACE, released_at=func.now())
    await multiply(rig.db, process_id, BATCH + 20)
    await rig.persist(9)
    assert await rig.run() == BATCH + 21
    assert len(await outbox_ids(rig.db)) == BATCH + 21


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
