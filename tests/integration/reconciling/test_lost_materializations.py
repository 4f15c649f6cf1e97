"""Dagster is told of a snapshot whose run could not tell it."""

import pytest

from contracts.states import State
from control.reconciling.materializations import report_lost_materializations
from tests.fake_dagster import FakeGraphQL
from tests.integration.reconciling.rig import Rig
from tests.integration.worker_rows import add_launch, kinds, process, set_columns

pytestmark = pytest.mark.anyio


async def test_dagster_is_told_of_a_snapshot_whose_run_died_after_the_commit(rig: Rig) -> None:
    process_id, launch_id = await rig.queued()
    rig.runs.add(launch_id, "FAILURE", "run-1")  # the run that the commit names
    await rig.commit(process_id)
    await rig.run()
    events_to = FakeGraphQL()
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
    told = FakeGraphQL()
    assert await report_lost_materializations(rig.db, rig.runs, told) == 0
    rig.runs.is_away = True
    assert await report_lost_materializations(rig.db, rig.runs, told) == 0
    assert told.told == []
