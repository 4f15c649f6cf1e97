"""What an accepted request leaves in the database, written by one statement: one round trip instead of five."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.states import State
from contracts.tenancy import cores_of
from control.accepting.planning import Plan
from control.tables import ACTIVE_SQL, process_events, processes

_COLUMNS = [
    *("id", "tenant_id", "entity_id", "data_version", "dataset", "action", "action_digest", "request", "request_hash"),
    *("callback_url", "profile", "cores", "priority", "state", "created_at", "deadline_at", "retry_of", "backfill_id"),
]
# As text: SQLAlchemy compiles an INSERT … ON CONFLICT anew each time. What a row of another part needs flows through
# RETURNING, so nothing is written for a process that was not made.
_WRITE = text(
    f"""
    WITH claimed AS (
        INSERT INTO entities (entity_id, tenant_id)
        SELECT :entity_id, :tenant_id WHERE :to_claim = 1
        ON CONFLICT DO NOTHING
        RETURNING entity_id
    ), told AS (
        INSERT INTO admin_log (actor, kind, tenant_id, detail)
        SELECT :actor, 'entity_claimed', :tenant_id, jsonb_build_object('entity_id', entity_id)
        FROM claimed
    ), made AS (
        INSERT INTO processes ({", ".join(_COLUMNS)})
        VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
        ON CONFLICT (entity_id, data_version, dataset) WHERE {ACTIVE_SQL.text} DO NOTHING
        RETURNING id, state, created_at
    ), waiting AS (
        INSERT INTO outbox (process_id, attempt) SELECT id, 1 FROM made
    ), noted AS (
        INSERT INTO process_events (process_id, attempt, at, kind, to_state, actor, detail)
        SELECT id, 1, created_at, state, state, :actor, :detail FROM made
    )
    SELECT (SELECT count(*) FROM claimed) AS claimed, (SELECT count(*) FROM made) AS made
    """  # noqa: S608 - constants of our own modules
).bindparams(
    bindparam("to_claim", type_=Integer),
    *(bindparam(name, type_=process_events.c[name].type) for name in ("actor", "detail")),
    *(bindparam(name, type_=processes.c[name].type) for name in _COLUMNS),
)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of it: whether the entity was claimed just now, and whether the coordinate was free."""

    is_claimed: bool
    is_made: bool


async def write(
    conn: AsyncConnection,
    plan: Plan,
    process_id: UUID,
    *,
    actor: str,
    detail: Mapping[str, Any],
    retry_of: UUID | None,
    backfill_id: UUID | None,
) -> Written:
    """Take the coordinate: write the process, its first event and its place in the outbox, if no other has it.

    An entity that nobody has becomes the tenant's, whether or not the coordinate was free. ``actor`` and ``detail`` go
    into the event, ``actor`` into the admin log too.
    """
    given = {"actor": actor, "detail": dict(detail), "retry_of": retry_of, "backfill_id": backfill_id}
    row = (await conn.execute(_WRITE, {**_values(plan, process_id), **given})).one()
    return Written(is_claimed=row.claimed == 1, is_made=row.made == 1)


def _values(plan: Plan, process_id: UUID) -> dict[str, Any]:
    target, request = plan.target, plan.request
    return {
        "id": process_id,
        "tenant_id": plan.tenant.id,
        "entity_id": target.entity_id,
        "data_version": target.data_version,
        "dataset": target.dataset,
        "action": plan.action.name,
        "action_digest": plan.action.digest,
        "request": request.model_dump(mode="json"),
        "request_hash": plan.request_hash,
        "callback_url": plan.callback_url,
        "profile": plan.profile.model_dump(mode="json"),
        "cores": cores_of(plan.profile.granted),
        "priority": request.priority,
        "state": State.ACCEPTED.value,
        "created_at": plan.planned_at,
        "deadline_at": plan.deadline_at,
        "to_claim": int(not plan.is_claimed),
    }
