"""What administrators do about tenants and their entities; every change leaves a line in ``admin_log``."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.problems import LakemillError
from contracts.tenancy import EVERYBODY, Tenant
from control.tables import ACTIVE_SQL, entities, processes, tenants
from control.tenancy.admin_log import note_admin
from control.tenancy.keys import tenant_of, unknown_tenant
from control.tenancy.webhook_secrets import new_secret


class TenantExistsError(LakemillError):
    """There is such a tenant already: change it instead."""


class UnknownEntityError(LakemillError):
    """Nobody has this entity yet: give it to a tenant first, or let one ask for something at it."""


class EntityBusyError(LakemillError):
    """Another tenant's processes are under way at the entity: cancel them, or wait for their end, and give it then."""

    retriable = True


async def create(conn: AsyncConnection, tenant: Tenant, actor: str) -> None:
    """Make a tenant, with a secret of its own for callbacks. Raises TenantExistsError."""
    row = upsert(tenants).values(
        id=tenant.id,
        webhook_secret=new_secret(),
        entity_pattern=tenant.entity_pattern,
        limits=_stored(tenant),
    )
    if not (await conn.execute(row.on_conflict_do_nothing())).rowcount:
        raise TenantExistsError(f"there is a tenant {tenant.id!r} already; 'lakemill tenants set' changes it")
    await note_admin(conn, actor, "tenant_created", tenant.id, tenant.model_dump(mode="json"))


async def change(conn: AsyncConnection, tenant: Tenant, actor: str) -> None:
    """Give a tenant another pattern and other limits; they hold from its next request on. Raises UnknownTenantError."""
    row = update(tenants).where(tenants.c.id == tenant.id)
    values = {"entity_pattern": tenant.entity_pattern, "limits": _stored(tenant)}
    if not (await conn.execute(row.values(values))).rowcount:
        raise unknown_tenant(tenant.id)
    await note_admin(conn, actor, "tenant_changed", tenant.id, tenant.model_dump(mode="json"))


async def get(conn: AsyncConnection, tenant_id: str, *, is_locked: bool = False) -> Tenant:
    """Return a tenant; ``is_locked`` keeps others from changing it until the transaction ends.

    Raises UnknownTenantError.
    """
    query = select(tenants.c.id.label("tenant_id"), tenants.c.entity_pattern, tenants.c.limits)
    query = query.where(tenants.c.id == tenant_id)
    row = (await conn.execute(query.with_for_update() if is_locked else query)).mappings().one_or_none()
    if row is None:
        raise unknown_tenant(tenant_id)
    return tenant_of(row)


async def listing(conn: AsyncConnection) -> list[Tenant]:
    """Return all tenants, by id."""
    query = select(tenants.c.id.label("tenant_id"), tenants.c.entity_pattern, tenants.c.limits)
    return [tenant_of(row) for row in (await conn.execute(query.order_by(tenants.c.id))).mappings()]


async def give(conn: AsyncConnection, entity_id: str, tenant_id: str, actor: str) -> None:
    """Make an entity a tenant's, whoever had it, shared with nobody. What is published there stays.

    Raises UnknownTenantError, EntityBusyError.
    """
    await get(conn, tenant_id)
    row = upsert(entities).values(entity_id=entity_id, tenant_id=tenant_id)
    others = (processes.c.entity_id == entity_id, ACTIVE_SQL, processes.c.tenant_id != tenant_id)
    async with conn.begin_nested():
        # The row first: it waits for whoever is about to make a process there, and whoever comes later waits for us.
        await conn.execute(
            row.on_conflict_do_update(index_elements=["entity_id"], set_={"tenant_id": tenant_id, "shared_with": []})
        )
        if busy := await conn.scalar(select(processes.c.id).where(*others).limit(1)):
            raise EntityBusyError(f"process {busy} of another tenant is under way at {entity_id!r}: cancel it, or wait")
    await note_admin(conn, actor, "entity_given", tenant_id, {"entity_id": entity_id})


async def share(conn: AsyncConnection, entity_id: str, readers: Sequence[str], actor: str) -> None:
    """Let exactly these tenants, ``*`` for all, read an entity beside its owner.

    Raises UnknownEntityError, UnknownTenantError.
    """
    for reader in readers:
        if reader != EVERYBODY:
            await get(conn, reader)
    row = update(entities).where(entities.c.entity_id == entity_id).values(shared_with=sorted(set(readers)))
    owner = await conn.scalar(row.returning(entities.c.tenant_id))
    if owner is None:
        raise UnknownEntityError(f"nobody has the entity {entity_id!r} yet")
    await note_admin(conn, actor, "entity_shared", owner, {"entity_id": entity_id, "with": sorted(set(readers))})


def _stored(tenant: Tenant) -> dict[str, Any]:
    return tenant.limits.model_dump(mode="json", exclude_defaults=True)
