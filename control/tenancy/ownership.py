"""Whose is it: what is another tenant's does not exist.

An entity belongs to the tenant that asked for something at it first. Others may read it when it is shared with them.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, RowMapping, Text, any_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.problems import ProblemError
from contracts.tenancy import EVERYBODY, Tenant
from control.tables import entities, processes

_NOBODY: tuple[None, tuple[str, ...]] = (None, ())
OWNERS = (
    select(
        func.json_object_agg(entities.c.entity_id, func.json_build_array(entities.c.tenant_id, entities.c.shared_with))
    )
    .where(entities.c.entity_id == any_(bindparam("entity_ids", type_=ARRAY(Text))))
    .scalar_subquery()
)
"""Whose the ``entity_ids`` are, as ``check_entities`` reads it: {entity: [owner, [readers]]}, or NULL."""


async def own_process(conn: AsyncConnection, tenant_id: str, process_id: UUID) -> RowMapping:
    """Return the row of the tenant's process. Raises ProblemError (not_found), also for somebody else's."""
    query = select(processes).where(processes.c.id == process_id, processes.c.tenant_id == tenant_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", "there is no such process")
    return row


def check_entities(
    known: Mapping[str, Any] | None, tenant: Tenant, target: Coordinate, inputs: Mapping[str, Coordinate]
) -> None:
    """Return when the target's entity is the tenant's, or may become it. ``known``: ``OWNERS``.

    Raises ProblemError: not_found for somebody else's target, validation_failed for one that it may not claim,
    missing_input for an input that it may not read, in the words of one that does not exist.
    """
    known = known or {}
    owner, _ = known.get(target.entity_id, _NOBODY)
    is_own = owner == tenant.id
    if not is_own and not tenant.may_claim(target.entity_id):  # whether somebody has it or not
        errors = [{"field": "entity_id", "rule": f"must match {tenant.entity_pattern!r}: what your tenant may claim"}]
        raise ProblemError("validation_failed", "the entity cannot be your tenant's", errors=errors)
    if owner is not None and not is_own:
        raise _no_entity(target.entity_id)
    for name, place in inputs.items():
        if not _may_read(tenant, place.entity_id, *known.get(place.entity_id, _NOBODY)):
            raise missing_input(name, place)


async def refuse_claimed(conn: AsyncConnection, tenant: Tenant, entity_id: str) -> None:
    """Return unless the entity has become another tenant's. Raises ProblemError (not_found)."""
    owner = await conn.scalar(select(entities.c.tenant_id).where(entities.c.entity_id == entity_id))
    if owner != tenant.id:
        raise _no_entity(entity_id)


def missing_input(name: str, place: Coordinate, what: str = "does not exist") -> ProblemError:
    """Return the refusal of an input that is not there, or not for this tenant."""
    return ProblemError("missing_input", f"input {name!r}: {place} {what}", input=name, coordinate=str(place))


def _may_read(tenant: Tenant, entity_id: str, owner: str | None, readers: Collection[str]) -> bool:
    if owner is None:
        return tenant.may_claim(entity_id)
    return owner == tenant.id or not {EVERYBODY, tenant.id}.isdisjoint(readers)


def _no_entity(entity_id: str) -> ProblemError:
    return ProblemError("not_found", f"there is no entity {entity_id}")
