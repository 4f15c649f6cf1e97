"""Deadlines, and ends that wait for a permit's time."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from contracts.reasons import ReasonCode
from contracts.states import State
from tests.integration.reconciling.rig import Rig
from tests.integration.worker_rows import add_process, outbox_ids, process, set_columns

pytestmark = pytest.mark.anyio


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
