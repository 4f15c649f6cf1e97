"""What an accepted request leaves in the database, written by one statement: one round trip instead of five."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.states import State
from contracts.tenancy import cores_of
from control.accepting.planning import Plan
from control.accepting.submission import Submission
from control.tables import ACTIVE_SQL, idempotency_keys, process_events, processes

_COLUMNS = [
    *("id", "tenant_id", "entity_id", "data_version", "dataset", "action", "action_digest", "request", "request_hash"),
    *("callback_url", "profile", "cores", "priority", "state", "created_at", "deadline_at", "retry_of", "backfill_id"),
]
_VALUES = ", ".join(f":{name}" for name in _COLUMNS)
# As text: SQLAlchemy compiles an INSERT … ON CONFLICT anew each time. What a row of another part needs flows through
# RETURNING, so nothing is written for a process that was not made.
# The plan has looked whose the entity is, but what counts is whose it is when the process appears: so the row is locked
# until the transaction that writes the process ends. ``tenants.give`` changes that row, and then looks for processes.
# When this lock was first it waits, and finds the process; when its change was, this waits, reads the row as it has
# become, and finds that it is another's. Submits share the lock. FOR KEY SHARE would let the old row pass.
_OWNED = """owned AS (
        SELECT FROM entities WHERE entity_id = :entity_id AND tenant_id = :tenant_id FOR SHARE
    )"""
_IS_RECOVERING = "EXISTS (SELECT FROM recovery)"
_TOLD = """told AS (
        INSERT INTO admin_log (actor, kind, tenant_id, detail)
        SELECT :actor, 'entity_claimed', :tenant_id, jsonb_build_object('entity_id', entity_id)
        FROM claimed
    )"""
_IF_FREE = f"""ON CONFLICT (entity_id, data_version, dataset) WHERE {ACTIVE_SQL.text} DO NOTHING
        RETURNING id, state, created_at"""
_BEGUN = """waiting AS (
        INSERT INTO outbox (process_id, attempt) SELECT id, 1 FROM made
    ), noted AS (
        INSERT INTO process_events (process_id, attempt, at, kind, to_state, actor, detail)
        SELECT id, 1, created_at, state, state, :actor, :detail FROM made
    )"""
_TYPES = (
    *(bindparam(name, type_=process_events.c[name].type) for name in ("actor", "detail")),
    *(bindparam(name, type_=processes.c[name].type) for name in _COLUMNS),
)
_WRITE = text(
    f"""
    WITH {_OWNED}, claimed AS (
        INSERT INTO entities (entity_id, tenant_id)
        SELECT :entity_id, :tenant_id WHERE NOT EXISTS (SELECT FROM owned)
        ON CONFLICT DO NOTHING
        RETURNING entity_id
    ), {_TOLD}, made AS (
        INSERT INTO processes ({", ".join(_COLUMNS)})
        SELECT {_VALUES} WHERE (EXISTS (SELECT FROM owned) OR EXISTS (SELECT FROM claimed)) AND NOT {_IS_RECOVERING}
        {_IF_FREE}
    ), {_BEGUN}
    SELECT (SELECT count(*) FROM made)
    """  # noqa: S608 - constants of our own modules
).bindparams(*_TYPES)
_IS_HERE = "(entity_id, data_version, dataset) = (:entity_id, :data_version, :dataset)"
_NOT_WRITTEN = {"22012", "40P01"}  # division_by_zero: half done; a deadlock with a transaction that takes the key first
# Nothing is written where, as the statement begins, anything is in the way. What only then gets into the way makes the
# statement fail as a whole.
_WRITE_ALONE = text(
    f"""
    WITH {_OWNED}, free AS (
        SELECT WHERE NOT {_IS_RECOVERING}
        AND NOT EXISTS (SELECT FROM processes WHERE {_IS_HERE} AND {ACTIVE_SQL.text})
        AND NOT EXISTS (SELECT FROM snapshots WHERE {_IS_HERE})
        AND NOT EXISTS (SELECT FROM idempotency_keys WHERE tenant_id = :tenant_id AND key = :key)
    ), claimed AS (
        INSERT INTO entities (entity_id, tenant_id)
        SELECT :entity_id, :tenant_id FROM free WHERE NOT EXISTS (SELECT FROM owned)
        ON CONFLICT DO NOTHING
        RETURNING entity_id
    ), {_TOLD}, made AS (
        INSERT INTO processes ({", ".join(_COLUMNS)})
        SELECT {_VALUES} FROM free WHERE EXISTS (SELECT FROM owned) OR EXISTS (SELECT FROM claimed)
        {_IF_FREE}
    ), {_BEGUN}, keyed AS (
        INSERT INTO idempotency_keys (tenant_id, key, request_hash, process_id, response)
        SELECT :tenant_id, :key, :key_hash, id, :response FROM made WHERE :key IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING key
    ), done AS (
        SELECT (SELECT count(*) FROM claimed) AS claimed, (SELECT count(*) FROM made) AS made,
        (SELECT count(*) FROM keyed) AS keyed
    )
    SELECT made / CASE WHEN made < claimed OR keyed < made AND :key IS NOT NULL THEN 0 ELSE 1 END FROM done
    """  # noqa: S608 - constants of our own modules
).bindparams(
    *_TYPES,
    bindparam("key", type_=idempotency_keys.c.key.type),
    bindparam("key_hash", type_=idempotency_keys.c.request_hash.type),
    bindparam("response", type_=idempotency_keys.c.response.type),
)


async def write(conn: AsyncConnection, plan: Plan, submission: Submission, process_id: UUID) -> bool:
    """Take the coordinate: write the process, its first event and its place in the outbox; returns whether it did.

    It does not where another process has the coordinate, another tenant the entity, or the control plane is recovering.
    An entity that nobody has becomes the tenant's in any case.
    """
    return bool(await conn.scalar(_WRITE, _values(plan, submission, process_id)))


async def write_alone(
    conn: AsyncConnection, plan: Plan, submission: Submission, process_id: UUID, answer: Mapping[str, Any]
) -> bool:
    """Write everything, the Idempotency-Key with its ``answer`` included, or nothing; returns whether it was written.

    It is not where another process has the coordinate, something is published there, the key or the entity is taken,
    the control plane is recovering, or any of that happens at the same time. ``conn`` must let every statement stand
    alone.
    """
    key = {"key": submission.key, "key_hash": submission.key_hash(), "response": answer}
    try:
        return bool(await conn.scalar(_WRITE_ALONE, {**_values(plan, submission, process_id), **key}))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _NOT_WRITTEN:
            return False
        raise


def _values(plan: Plan, submission: Submission, process_id: UUID) -> dict[str, Any]:
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
        "actor": submission.actor,
        "detail": dict(submission.source),
        "retry_of": submission.retry_of,
        "backfill_id": submission.backfill_id,
    }
