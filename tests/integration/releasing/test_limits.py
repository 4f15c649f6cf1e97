"""Limits hold, everybody's and a tenant's own, and what room they leave is shared fairly."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import func

from contracts.states import State
from control.releasing.release import release_once
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.releasing.accidental_relay import AccidentalRelay
from tests.integration.worker_rows import (
    add_process,
    add_tenant,
    all_processes,
    multiply,
    outbox_ids,
    process,
    set_columns,
)
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


async def test_limits_hold_with_three_workers_at_once(db: Database, settings: ControlSettings) -> None:
    settings = settings.model_copy(update={"max_in_flight": 7})
    ids = [await add_process(db) for _ in range(40)]
    log = MemoryLog()
    most = 0

    async def worker() -> None:
        nonlocal most
        while await outbox_ids(db):
            await release_once(db, log, settings)
            rows = await all_processes(db)
            flying = [row["id"] for row in rows if row["released_at"] and row["state"] == State.ACCEPTED.value]
            most = max(most, len(flying))
            for done in flying[:3]:
                await set_columns(db, done, state=State.SUCCEEDED.value)

    async with asyncio.timeout(60):
        await asyncio.gather(*(worker() for _ in range(3)))
    assert most <= 7
    # None was sent twice either: nothing went wrong, so nothing was repeated.
    assert sum(len(written) for written in log._records) == len(ids)


async def test_places_are_filled_from_whoever_has_the_fewest(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    await add_tenant(db, "busy")
    await add_tenant(db, "quiet")
    for _ in range(4):
        await add_process(db, tenant_id="busy", released_at=func.now())
    for _ in range(6):
        await add_process(db, tenant_id="busy", priority=9)
        await add_process(db, tenant_id="quiet")
    await release_once(db, relay, settings.model_copy(update={"max_in_flight": 10}))
    # 4 in flight for busy: the first four places go to quiet, the other two to one each.
    assert Counter(record.tenant for record in relay.sent) == {"quiet": 5, "busy": 1}


async def test_a_burst_of_one_tenant_leaves_places_to_the_others(db: Database, settings: ControlSettings) -> None:
    settings = settings.model_copy(update={"max_in_flight": 10})
    await add_tenant(db, "bursty")
    await add_tenant(db, "quiet")
    first = await add_process(db, tenant_id="bursty", waiting=True, priority=10)
    await multiply(db, first, 9_999)
    log = MemoryLog()
    assert await release_once(db, log, settings) == 10
    alone = await add_process(db, tenant_id="quiet", waiting=True, priority=-10)
    assert await release_once(db, log, settings) == 0  # nothing is free
    ended = next(row["id"] for row in await all_processes(db) if row["released_at"])
    await set_columns(db, ended, state=State.SUCCEEDED.value)
    assert await release_once(db, log, settings) == 1
    assert (await process(db, alone))["released_at"] is not None


@pytest.mark.parametrize(("heavy", "light", "wanted"), [(3, 1, (6, 2)), (1, 1, (4, 4)), (7, 1, (7, 1))])
async def test_places_are_given_by_weight(
    db: Database, settings: ControlSettings, heavy: int, light: int, wanted: tuple[int, int]
) -> None:
    settings = settings.model_copy(update={"max_in_flight": sum(wanted)})
    for tenant, weight in (("heavy", heavy), ("light", light)):
        await add_tenant(db, tenant, weight=weight)
        for _ in range(20):
            await add_process(db, tenant_id=tenant, waiting=True)
    assert await release_once(db, MemoryLog(), settings) == sum(wanted)
    released = [row["tenant_id"] for row in await all_processes(db) if row["released_at"]]
    assert (released.count("heavy"), released.count("light")) == wanted


async def test_a_tenants_own_limits_hold(db: Database, settings: ControlSettings) -> None:
    await add_tenant(db, "few", in_flight=3)
    await add_tenant(db, "small", in_flight_cores=7)
    for _ in range(6):
        await add_process(db, tenant_id="few", waiting=True)
        await add_process(db, tenant_id="small", waiting=True, cores=3)
    log = MemoryLog()
    assert await release_once(db, log, settings) == 5
    assert await release_once(db, log, settings) == 0
    released = [row["tenant_id"] for row in await all_processes(db) if row["released_at"]]
    assert (released.count("few"), released.count("small")) == (3, 2)


async def test_a_process_that_is_larger_than_a_limit_that_came_later_goes_alone(
    db: Database, settings: ControlSettings
) -> None:
    await add_tenant(db, "small", in_flight_cores=4)
    giant = await add_process(db, tenant_id="small", waiting=True, cores=9, priority=1)
    await add_process(db, tenant_id="small", waiting=True, cores=1)
    log = MemoryLog()
    assert await release_once(db, log, settings) == 1
    assert (await process(db, giant))["released_at"] is not None
    assert await release_once(db, log, settings) == 0
    await set_columns(db, giant, state=State.SUCCEEDED.value)
    assert await release_once(db, log, settings) == 1
