"""An entity that is given to another tenant, or a rebuild that begins, while a request for it is under way."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select, update

from control.recovery.state import begin
from control.tables import ACTIVE_SQL, entities, processes
from control.tenancy import tenants
from control.tenancy.tables import admin_log
from control.tenancy.tenants import EntityBusyError
from tests.integration.backfilling import create, expander, shown
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.memory_lake import MemoryLake, place
from tests.integration.tenant import Caller, make_tenant
from tests.integration.waiting import until_waiting

pytestmark = pytest.mark.anyio
ENTITY = place().entity_id
REFINE: dict[str, Any] = {"action": "refine", "params": {"day": "monday"}}
Ask = Callable[[ControlPlane], Coroutine[Any, Any, str | None]]


class PausingLake(MemoryLake):
    """A lake that answers only as long as it ``goes_on``."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.goes_on = Event(), Event()
        self.goes_on.set()

    def get(self, key: str) -> bytes | None:
        self.is_asked.set()
        self.goes_on.wait(10)
        return super().get(key)


async def single(plane: ControlPlane) -> str | None:
    """Ask for a process at the entity; return the code of the refusal."""
    code: str | None = (await plane.submit(**REFINE)).json().get("code")
    return code


async def batch(plane: ControlPlane) -> str | None:
    answer = await plane.post("/v1/processes:batch", body={"processes": [{**SUBMIT, **REFINE}]})
    code: str | None = (answer.json()["results"][0]["problem"] or {}).get("code")
    return code


async def backfill(plane: ControlPlane) -> str | None:
    caller = Caller(plane, "default", plane.key)
    made = await create(caller, {"data_version": "v1", **REFINE}, entities=[ENTITY])
    if not await expander(plane).step():
        return "recovering"  # what is not refused, and not done, waits
    refusal: str | None = (await shown(caller, made))["last_refusal"]
    return refusal and refusal.split(": ")[1]


ASKS = pytest.mark.parametrize("ask", [single, batch, backfill])


@pytest.fixture
def lake() -> PausingLake:
    return PausingLake()


@pytest.fixture
async def cancelled(plane: ControlPlane, lake: PausingLake) -> UUID:
    """The entity is the tenant's, and its only process was cancelled. Nobody has looked yet for what is refined."""
    process_id = await plane.accepted()
    assert (await plane.cancel(process_id)).status_code == 200
    lake.commit(place(), None)
    lake.is_asked.clear()
    return process_id


@pytest.fixture
async def rival(plane: ControlPlane) -> Caller:
    return await make_tenant(plane, "rival")


async def give(plane: ControlPlane, rival: Caller) -> None:
    async with plane.db.transaction() as conn:
        await tenants.give(conn, ENTITY, rival.id, "test")


async def active(plane: ControlPlane) -> list[str]:
    """Return whose processes are under way."""
    return [row["tenant_id"] for row in await plane.rows(select(processes).where(ACTIVE_SQL))]


async def owner(plane: ControlPlane) -> str:
    (row,) = await plane.rows(entities)
    return str(row["tenant_id"])


@ASKS
@pytest.mark.usefixtures("cancelled")
@pytest.mark.parametrize("code", ["not_found", "recovering"])
async def test_what_has_changed_since_the_plan_is_refused(
    plane: ControlPlane, lake: PausingLake, rival: Caller, ask: Ask, code: str
) -> None:
    lake.goes_on.clear()
    asking = asyncio.create_task(ask(plane))
    assert await asyncio.to_thread(lake.is_asked.wait, 10)
    if code == "not_found":
        await give(plane, rival)
    else:
        async with plane.db.transaction() as conn:
            await begin(conn, "test")
    lake.goes_on.set()
    assert await asking == code
    assert await active(plane) == []


@ASKS
@pytest.mark.usefixtures("cancelled")
async def test_a_request_that_meets_a_gift_waits_for_it_and_is_refused(
    plane: ControlPlane, rival: Caller, ask: Ask
) -> None:
    async with plane.db.transaction() as conn:
        await tenants.give(conn, ENTITY, rival.id, "test")
        asking = asyncio.create_task(ask(plane))
        await until_waiting(plane.db, 1)
    assert await asking == "not_found"
    assert (await active(plane), await owner(plane)) == ([], rival.id)


@ASKS
@pytest.mark.parametrize("is_owned", [True, False])
async def test_a_gift_that_meets_a_request_waits_for_it_and_is_refused(
    plane: ControlPlane, rival: Caller, cancelled: UUID, ask: Ask, is_owned: bool
) -> None:
    async with plane.db.transaction() as conn:
        if not is_owned:
            await conn.execute(delete(entities))
    async with plane.db.transaction() as conn:  # somebody else is about to take the coordinate, and then does not
        await conn.execute(
            update(processes).where(processes.c.id == cancelled).values(state="accepted", dataset="fine")
        )
        asking = asyncio.create_task(ask(plane))
        await until_waiting(plane.db, 1)
        giving = asyncio.create_task(give(plane, rival))
        await until_waiting(plane.db, 2)
        await conn.rollback()
    assert await asking is None
    with pytest.raises(EntityBusyError):
        await giving
    assert (await active(plane), await owner(plane)) == (["default"], "default")
    assert "entity_given" not in {row["kind"] for row in await plane.rows(admin_log)}


@pytest.mark.usefixtures("cancelled")
async def test_requests_at_one_entity_do_not_wait_for_each_other(plane: ControlPlane) -> None:
    async with plane.db.transaction() as conn:
        shared = select(entities.c.entity_id).where(entities.c.entity_id == ENTITY).with_for_update(read=True)
        await conn.execute(shared)  # as a request holds it that is being stored
        assert (await asyncio.wait_for(plane.submit(**REFINE), 10)).status_code == 202
