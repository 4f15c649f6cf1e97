"""One tenant's burst of 10,000 processes, and another tenant's single process: the worker's own loop, stub runs."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Select, func, select

from contracts.states import State
from control.loops import run_loops
from control.tables import IN_FLIGHT_SQL, processes
from control.transitions import move
from control.worker import Ports, loops_of
from resources.callbacks.sender import GuardedSender
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeGraphQL
from tests.integration.memory_lake import MemoryLake
from tests.integration.worker_rows import add_process, add_tenant, multiply, process
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
BURST, PLACES, TIMES = 10_000, 20, 5
SLACK = timedelta(seconds=0.75)
"""For one release over the long backlog, on a machine that does other work."""


@asynccontextmanager
async def releasing(db: Database, settings: ControlSettings) -> AsyncIterator[None]:
    """Run the worker's release loop as the worker runs it."""
    ports = Ports(settings, db, MemoryLog(), MemoryLake(), GuardedSender(), None, FakeGraphQL())
    stop = asyncio.Event()
    loops = [loop for loop in loops_of(ports) if loop.name == "release"]
    running = asyncio.create_task(run_loops(loops, stop))
    yield
    stop.set()
    await running


async def ask(db: Database, query: Select[Any]) -> Any:
    async with db.reading() as conn:
        return await conn.scalar(query)


async def until_in_flight(db: Database, count: int) -> None:
    """Return when ``count`` processes are in flight."""
    flying = select(func.count()).select_from(processes).where(IN_FLIGHT_SQL)
    async with asyncio.timeout(30):
        while await ask(db, flying) != count:
            pass


async def end_one(db: Database, tenant: str) -> datetime:
    """Let the run of one of the tenant's processes be over; returns when its place was free."""
    mine = select(processes.c.id).where(processes.c.tenant_id == tenant, IN_FLIGHT_SQL)
    process_id: UUID = await ask(db, mine.order_by(processes.c.released_at).limit(1))
    async with db.transaction() as conn:
        assert await move(conn, process_id, State.CANCELLED, actor="stub run")
    async with db.reading() as conn:
        freed: datetime = (await conn.execute(select(func.now()))).scalar_one()
        return freed


async def test_a_single_process_waits_one_interval_and_a_free_place(db: Database, settings: ControlSettings) -> None:
    for tenant in ("burst", "single"):
        await add_tenant(db, tenant)
    await multiply(db, await add_process(db, tenant_id="burst"), BURST - 1)
    waits = []
    async with releasing(db, settings.model_copy(update={"max_in_flight": PLACES})):
        await until_in_flight(db, PLACES)
        for _ in range(TIMES):
            alone = await add_process(db, tenant_id="single")
            freed = await end_one(db, "burst")
            await until_in_flight(db, PLACES)
            released: datetime | None = (await process(db, alone))["released_at"]
            assert released is not None, "the free place went to the burst"
            waits.append(released - freed)
            await end_one(db, "single")
            await until_in_flight(db, PLACES)
    told = ", ".join(f"{wait.total_seconds():.3f}" for wait in waits)
    sys.stdout.write(f"released {told} s after a place was free; the interval is {settings.release_interval} s\n")
    assert max(waits) <= timedelta(seconds=settings.release_interval) + SLACK
