"""What is old goes, in small batches, and nothing else."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select

from contracts.states import State
from control import retention
from control.log.tables import dead_letters
from control.retention import PROCESSES_AT_ONCE
from control.tables import deliveries, idempotency_keys, launches, process_events, processes, snapshots, subscribers
from resources.dagster.runs import RunState
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.retention_rig import OLD, Rig
from tests.integration.worker_rows import add_launch, add_process, all_processes, set_columns

pytestmark = pytest.mark.anyio


@pytest.fixture
def rig(db: Database, settings: ControlSettings) -> Rig:
    return Rig(db, settings)


async def test_an_old_process_goes_with_all_that_is_its_own(rig: Rig) -> None:
    old = await rig.ended(callback_url="https://example.com/hook")
    await rig.callbacks("delivered")
    async with rig.db.transaction() as conn:
        await conn.execute(insert(subscribers).values(process_id=old, url="https://example.com/other"))
    recent = await rig.ended(age=timedelta(days=89))
    waiting = await add_process(rig.db)
    assert await rig.prune() == 1
    assert await rig.ids() == {recent, waiting}
    for table in (deliveries, subscribers):
        assert await rig.count(table) == 0
    async with rig.db.transaction() as conn:
        assert old not in set((await conn.execute(select(process_events.c.process_id))).scalars())
    assert await rig.prune() == 0


async def test_what_still_has_to_be_told_stays(rig: Rig) -> None:
    old = await rig.ended(callback_url="https://example.com/hook")
    assert await rig.prune() == 0
    assert await rig.ids() == {old}


async def test_dagster_knows_the_snapshot_before_its_runs_are_forgotten(rig: Rig) -> None:
    process_id = await add_process(rig.db)
    first = await add_launch(rig.db, process_id)
    second = await add_launch(rig.db, process_id, attempt=2)
    rig.runs.add(first, RunState.FAILURE, "run-1")
    rig.runs.add(second, RunState.SUCCESS, "run-2")
    await set_columns(rig.db, process_id, state=State.SUCCEEDED.value, finished_at=func.now() - OLD, run_id="run-2")
    (row,) = await all_processes(rig.db)
    rig.dagster.is_away = True
    assert await rig.prune() == 0
    assert (await rig.ids(), rig.dagster.deleted) == ({process_id}, [])
    rig.dagster.is_away = False
    assert await rig.prune() == 1
    assert set(rig.dagster.deleted) == {"run-1", "run-2"}
    assert set(rig.dagster.told) == {("demo", f"v1|{row['entity_id']}")}
    assert (await rig.ids(), await rig.count(launches)) == (set(), 0)


async def test_nothing_goes_while_dagster_cannot_be_read_or_a_run_lives(rig: Rig) -> None:
    process_id = await rig.ran(RunState.STARTED, "run-1")
    assert await rig.prune() == 0
    rig.runs.is_away = True
    assert await rig.prune() == 0
    assert (await rig.ids(), rig.dagster.deleted) == ({process_id}, [])


async def test_a_launch_that_was_run_again_waits_for_all_its_runs_and_takes_them_along(rig: Rig) -> None:
    process_id = await add_process(rig.db)
    launch_id = await add_launch(rig.db, process_id)
    rig.runs.add(launch_id, RunState.STARTED, "run-1")
    rig.runs.add(launch_id, RunState.SUCCESS, "run-2")  # by an operator
    rig.runs.add(launch_id, RunState.NOT_STARTED, "run-3")
    await set_columns(rig.db, process_id, state=State.SUCCEEDED.value, finished_at=func.now() - OLD, run_id="run-2")
    assert await rig.prune() == 0
    assert (await rig.ids(), rig.dagster.deleted) == ({process_id}, [])
    rig.runs.add(launch_id, RunState.FAILURE, "run-1")
    assert await rig.prune() == 1
    assert (await rig.ids(), sorted(rig.dagster.deleted)) == (set(), ["run-1", "run-2", "run-3"])
    assert len(rig.dagster.told) == 1


async def test_a_run_goes_when_all_that_it_computed_has_ended_long_ago(rig: Rig) -> None:
    together = [await add_process(rig.db, entity_id=f"shop-{number}") for number in range(3)]
    launch_id = None
    for process_id in together:
        launch_id = await add_launch(rig.db, process_id, launch_id=launch_id)
    assert launch_id is not None
    rig.runs.add(launch_id, RunState.SUCCESS, "shared-run")
    for process_id in together[:2]:
        await set_columns(rig.db, process_id, state=State.SUCCEEDED.value, finished_at=func.now() - OLD)
    assert await rig.prune() == 0  # one of them is still computed
    await set_columns(rig.db, together[2], state=State.FAILED.value, finished_at=func.now() - timedelta(days=1))
    assert await rig.prune() == 0
    assert (await rig.ids(), rig.dagster.deleted) == (set(together), [])
    await set_columns(rig.db, together[2], finished_at=func.now() - OLD)
    assert await rig.prune() == 3
    assert (await rig.ids(), rig.dagster.deleted) == (set(), ["shared-run"])
    assert sorted(rig.dagster.told) == [("demo", "v1|shop-0"), ("demo", "v1|shop-1")]


async def test_keys_and_dead_letters_go_by_their_own_age(rig: Rig) -> None:
    key = {"tenant_id": "default", "request_hash": "0", "process_id": uuid4(), "response": {}}
    dead = {"topic_id": "t", "log_partition": 0, "topic": "t", "code": "c", "message": "m"}
    async with rig.db.transaction() as conn:
        for number, days in enumerate((6, 8, 29, 31)):
            at = func.now() - timedelta(days=days)
            await conn.execute(insert(idempotency_keys).values(key=str(number), created_at=at, **key))
            await conn.execute(insert(dead_letters).values(log_offset=number, created_at=at, **dead))
    assert await rig.prune() == 4
    assert (await rig.count(idempotency_keys), await rig.count(dead_letters)) == (1, 3)


async def test_much_goes_in_small_batches(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PROCESSES_AT_ONCE", 3)
    for _ in range(8):
        await rig.ended()
    pruned = [await rig.prune() for _ in range(4)]
    assert pruned == [3, 3, 2, 0]


@pytest.mark.parametrize("part", ["runs", "dagster"])
async def test_while_dagster_is_away_what_needs_it_not_goes_and_the_rest_waits(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(retention, "PROCESSES_AT_ONCE", 2)
    for number in range(6):
        await rig.ran(RunState.FAILURE, f"run-{number}", age=2 * OLD)
    for _ in range(3):
        await rig.ended()
    getattr(rig, part).is_away = True
    assert [await rig.prune() for _ in range(4)] == [2, 1, 0, 0]  # 0: the loop pauses
    assert (len(await rig.ids()), rig.dagster.deleted) == (6, [])
    getattr(rig, part).is_away = False
    while await rig.prune():
        pass
    await rig.prune()
    assert (await rig.ids(), len(rig.dagster.deleted)) == (set(), 6)


async def test_what_cannot_go_does_not_keep_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PROCESSES_AT_ONCE", 2)
    for number in range(3):
        await rig.ran(RunState.STARTED, f"run-{number}", age=2 * OLD)
    await rig.ran(RunState.NOT_STARTED, "run-never")
    free = await rig.ended()
    for _ in range(4):
        await rig.prune()
    assert len(await rig.ids()) == 3
    assert free not in await rig.ids()
    assert rig.dagster.deleted == ["run-never"]


def test_batches_are_small() -> None:
    assert PROCESSES_AT_ONCE <= 100


async def test_what_is_published_stays(rig: Rig) -> None:
    process_id = await rig.ended(State.SUCCEEDED)
    (row,) = await all_processes(rig.db)
    place = {name: row[name] for name in ("entity_id", "data_version", "dataset")}
    async with rig.db.transaction() as conn:
        known = {"token": "t", "artifact": {}, "committed_at": func.now(), "process_id": process_id}
        await conn.execute(insert(snapshots).values(**place, **known))
    assert await rig.prune() == 1
    assert (await rig.ids(), await rig.count(snapshots), await rig.count(processes)) == (set(), 1, 0)


def test_a_key_outlives_no_process(settings: ControlSettings) -> None:
    with pytest.raises(ValueError, match="LAKEMILL_RETAIN_PROCESSES_DAYS"):
        ControlSettings.model_validate({**settings.model_dump(), "retain_processes_days": 3})
