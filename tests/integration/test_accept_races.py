"""A submit whose one statement waits for a rival: whatever that leaves, all of the submit is stored or nothing."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest
from sqlalchemy import Insert, insert, select

from contracts.tenancy import DEFAULT_TENANT
from control.snapshots import read_commit, record
from control.tables import entities, idempotency_keys, outbox, process_events, processes
from control.tenancy.tables import admin_log
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import make_tenant
from tests.integration.waiting import until_waiting

pytestmark = pytest.mark.anyio
ENTITY = place().entity_id
KEY = {"Idempotency-Key": "k-1"}
TAKEN_KEY = insert(idempotency_keys).values(
    tenant_id=DEFAULT_TENANT, key="k-1", request_hash="of another request", process_id=uuid4(), response={}
)


async def stored(plane: ControlPlane) -> list[int]:
    """Return how many rows there are of what a submit leaves, entities and keys aside."""
    claims = select(admin_log).where(admin_log.c.kind == "entity_claimed")
    return [len(await plane.rows(found)) for found in (processes, outbox, process_events, claims)]


@pytest.mark.parametrize(
    ("left", "code"),
    [
        ([TAKEN_KEY], "idempotency_key_reused"),
        ([insert(entities).values(entity_id=ENTITY, tenant_id="rival")], "not_found"),
    ],
    ids=["key", "entity"],
)
async def test_what_a_rival_took_meanwhile_is_refused(plane: ControlPlane, left: Sequence[Insert], code: str) -> None:
    await make_tenant(plane, "rival")
    async with plane.db.transaction() as rival:
        for each in left:
            await rival.execute(each)
        submit = asyncio.create_task(plane.submit(KEY))
        await until_waiting(plane.db, 1)
    assert (await submit).json()["code"] == code
    assert await stored(plane) == [0, 0, 0, 0]


async def test_what_was_published_meanwhile_is_refused(plane: ControlPlane) -> None:
    plane.lake.commit(place(), None)
    found = await read_commit(plane.lake, place())
    assert found is not None
    async with plane.db.transaction() as rival:
        await rival.execute(insert(entities).values(entity_id=ENTITY, tenant_id=DEFAULT_TENANT))
        await record(rival, found)
        submit = asyncio.create_task(plane.submit(KEY))
        await until_waiting(plane.db, 1)
    assert (await submit).json()["code"] == "version_already_published"
    assert await stored(plane) == [0, 0, 0, 0]


@pytest.mark.parametrize("is_kept", [False, True])
async def test_an_entity_that_is_claimed_twice_at_once_is_claimed_once(plane: ControlPlane, is_kept: bool) -> None:
    async with plane.db.transaction() as rival:
        nested = await rival.begin_nested()
        await rival.execute(insert(entities).values(entity_id=ENTITY, tenant_id=DEFAULT_TENANT))
        submit = asyncio.create_task(plane.submit(KEY))
        await until_waiting(plane.db, 1)
        if not is_kept:
            await nested.rollback()
    assert (await submit).status_code == 202
    assert await stored(plane) == [1, 1, 1, 0 if is_kept else 1]
    assert len(await plane.rows(entities)) == len(await plane.rows(idempotency_keys)) == 1
