"""What a commit in the lake means to the reconciler, and that nothing ends while the lake cannot be asked."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from contracts.reasons import ReasonCode
from contracts.states import State
from control.tables import deliveries
from tests.integration.reconciling.rig import PLACE, Rig
from tests.integration.worker_rows import add_process, outbox_ids, process, set_columns

pytestmark = pytest.mark.anyio


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
