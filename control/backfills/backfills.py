"""Backfills as their tenant asks for them: preview, create, look at, pause, resume, cancel."""

from typing import Any
from uuid import UUID, uuid5

import uuid_utils.compat
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    RowMapping,
    Select,
    Text,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.backfills import (
    MAX_ENTITIES,
    BackfillPage,
    BackfillPreview,
    BackfillRequest,
    BackfillState,
    BackfillView,
)
from contracts.problems import ProblemError
from contracts.reports import ActionEntry
from contracts.tenancy import Tenant
from control.accepting.planning import check_alone, offer_for
from control.backfills.counts import is_active
from control.backfills.tables import backfill_entities, backfills
from control.backfills.views import view, views
from control.tables import entities, snapshots
from control.tenancy.admin_log import note_admin
from control.tenancy.keys import Caller
from resources.database import Database
from resources.settings import ControlSettings

_SAMPLE = 10
_KEYS = UUID("5b0d7a0e-3f3c-5c1a-8a39-7c3f0d6b2f11")
_STEERED = {
    BackfillState.PAUSED: ("pause", "backfill_paused"),
    BackfillState.EXPANDING: ("resume", "backfill_resumed"),
    BackfillState.CANCELLING: ("cancel", "backfill_cancelled"),
}
_STOPPED = (BackfillState.CANCELLING, BackfillState.CANCELLED)


async def preview(db: Database, settings: ControlSettings, tenant: Tenant, request: BackfillRequest) -> BackfillPreview:
    """Return what ``create`` would make. Raises ProblemError like ``create``."""
    async with db.reading() as conn:
        action = await _action(conn, settings, tenant, request)
        chosen = _chosen(tenant, request, action).subquery("chosen")
        is_there = exists().where(
            entities.c.entity_id == chosen.c.entity_id,
            entities.c.tenant_id == tenant.id,  # what is published at others' entities may not be counted out
            snapshots.c.entity_id == chosen.c.entity_id,
            snapshots.c.data_version == request.data_version,
            snapshots.c.dataset == action.dataset,
        )
        count = await conn.scalar(select(func.count()).select_from(chosen))
        done = await conn.scalar(select(func.count()).select_from(chosen).where(is_there))
        first = await conn.execute(select(chosen.c.entity_id).order_by(chosen.c.entity_id).limit(_SAMPLE))
        return BackfillPreview(entities=count or 0, published=done or 0, sample=list(first.scalars()))


async def create(
    db: Database, settings: ControlSettings, caller: Caller, request: BackfillRequest
) -> tuple[BackfillView, bool]:
    """Make a backfill of the entities as they are now; returns it, and whether its key had made it before.

    Raises ProblemError: unknown_action, recovering, validation_failed, callback_forbidden, source_forbidden,
    idempotency_key_reused.
    """
    backfill_id = _id_of(caller.tenant, request)
    async with db.transaction() as conn:
        # What is there already is answered whatever became of its action since.
        is_new = not await _is_there(conn, backfill_id) and await _make(conn, settings, caller, backfill_id, request)
        found = await _own(conn, caller.tenant_id, backfill_id)
        if found["request_hash"] != request.request_hash():
            raise ProblemError("idempotency_key_reused", "this key has made a backfill of another request")
        return await view(conn, found), not is_new


async def get(db: Database, tenant_id: str, backfill_id: UUID) -> BackfillView:
    """Return how a backfill stands. Raises ProblemError (not_found)."""
    async with db.reading() as conn:
        return await view(conn, await _own(conn, tenant_id, backfill_id))


async def page(db: Database, tenant_id: str, *, limit: int, before: UUID | None = None) -> BackfillPage:
    """Return the newest ``limit`` backfills of a tenant, after the one ``before``.

    Raises ProblemError (validation_failed) where the tenant has none of that id.
    """
    mine = backfills.c.tenant_id == tenant_id
    query = select(backfills).where(mine)
    async with db.reading() as conn:
        if before is not None:
            last = await conn.scalar(select(backfills.c.created_at).where(mine, backfills.c.id == before))
            if last is None:
                errors = [{"field": "cursor", "rule": "must be the next_cursor of an earlier page"}]
                raise ProblemError("validation_failed", "the cursor leads nowhere", errors=errors)
            place = tuple_(literal(last), literal(before))
            query = query.where(tuple_(backfills.c.created_at, backfills.c.id) < place)
        query = query.order_by(backfills.c.created_at.desc(), backfills.c.id.desc())
        rows = (await conn.execute(query.limit(limit + 1))).mappings().all()
        shown = await views(conn, rows[:limit])
    return BackfillPage(backfills=shown, next_cursor=str(shown[-1].backfill_id) if len(rows) > limit else None)


async def steer(db: Database, caller: Caller, backfill_id: UUID, to: BackfillState) -> BackfillView:
    """Pause, resume or cancel: move a backfill to PAUSED, EXPANDING or CANCELLING. Doing it again changes nothing.

    Raises ProblemError: not_found, backfill_over.
    """
    async with db.transaction() as conn:
        row = await _own(conn, caller.tenant_id, backfill_id, is_locked=True)
        state = BackfillState(row["state"])
        if state != to and not (to is BackfillState.CANCELLING and state is BackfillState.CANCELLED):
            verb, kind = _STEERED[to]
            if await _is_over(conn, row) or (state is BackfillState.EXPANDED and to is BackfillState.EXPANDING):
                detail = f"the backfill is {state.value}, nothing is left to {verb}"
                raise ProblemError("backfill_over", detail, state=state.value)
            change = update(backfills).where(backfills.c.id == backfill_id)
            await conn.execute(change.values(state=to.value, updated_at=func.now()))
            await _tell(conn, caller, kind, backfill_id)
        return await view(conn, await _own(conn, caller.tenant_id, backfill_id))


async def _is_over(conn: AsyncConnection, row: RowMapping) -> bool:
    if row["state"] in _STOPPED:
        return True
    # The processes are asked: the reconciler notes later, in ``ended``, that the last one has ended.
    return row["state"] == BackfillState.EXPANDED and not await conn.scalar(select(is_active(row["id"])))


async def _tell(conn: AsyncConnection, caller: Caller, kind: str, backfill_id: UUID) -> None:
    await note_admin(conn, caller.actor, kind, caller.tenant_id, {"backfill_id": str(backfill_id)})


def _id_of(tenant: Tenant, request: BackfillRequest) -> UUID:
    if request.idempotency_key is None:
        return UUID(str(uuid_utils.compat.uuid7()))
    return uuid5(_KEYS, f"{tenant.id}\n{request.idempotency_key}")


async def _is_there(conn: AsyncConnection, backfill_id: UUID) -> bool:
    return await conn.scalar(select(backfills.c.id).where(backfills.c.id == backfill_id)) is not None


async def _make(
    conn: AsyncConnection, settings: ControlSettings, caller: Caller, backfill_id: UUID, request: BackfillRequest
) -> bool:
    """Write the backfill with its entities; returns whether nobody else did so meanwhile."""
    tenant = caller.tenant
    action = await _action(conn, settings, tenant, request)
    row = upsert(backfills).values(
        id=backfill_id,
        tenant_id=tenant.id,
        request=request.model_dump(mode="json", exclude={"select", "idempotency_key"}),
        request_hash=request.request_hash(),
        state=BackfillState.EXPANDING.value,
        entities=0,
    )
    if not (await conn.execute(row.on_conflict_do_nothing())).rowcount:
        return False
    await _choose(conn, backfill_id, _chosen(tenant, request, action))
    await _tell(conn, caller, "backfill_created", backfill_id)
    return True


async def _action(
    conn: AsyncConnection, settings: ControlSettings, tenant: Tenant, request: BackfillRequest
) -> ActionEntry:
    """Return the action, once what would be refused for every entity has been refused."""
    asked = request.process_at("any")
    offered = await offer_for(conn, asked)
    check_alone(offered, settings, tenant, asked)
    if request.select.with_inputs and not offered.action.inputs:
        errors = [{"field": "select.with_inputs", "rule": "needs an action that reads snapshots"}]
        raise ProblemError("validation_failed", f"{asked.action} has no input that is a snapshot", errors=errors)
    return offered.action


def _chosen(tenant: Tenant, request: BackfillRequest, action: ActionEntry) -> Select[Any]:
    """Select the entities; each of a list once."""
    chosen = request.select
    if chosen.entities is not None:
        return select(func.unnest(literal(sorted(set(chosen.entities)), ARRAY(Text))).label("entity_id"))
    query = select(entities.c.entity_id).where(entities.c.tenant_id == tenant.id)
    if chosen.pattern is not None:
        return query.where(entities.c.entity_id.like(_like(chosen.pattern), escape="\\"))
    for dataset in action.inputs.values():
        query = query.where(_has_snapshot(dataset, request.data_version))
    return query


def _has_snapshot(dataset: str, data_version: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = exists().where(
        snapshots.c.entity_id == entities.c.entity_id,
        snapshots.c.data_version == data_version,
        snapshots.c.dataset == dataset,
        snapshots.c.retired_at.is_(None),
    )
    return found


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


async def _choose(conn: AsyncConnection, backfill_id: UUID, chosen: Select[Any]) -> None:
    picked = chosen.limit(MAX_ENTITIES + 1).subquery("picked")
    into = insert(backfill_entities).from_select(
        ["backfill_id", "entity_id"], select(literal(backfill_id), picked.c.entity_id)
    )
    count = (await conn.execute(into)).rowcount
    if count > MAX_ENTITIES:
        errors = [{"field": "select", "rule": f"must choose at most {MAX_ENTITIES} entities"}]
        raise ProblemError("validation_failed", "too many entities for one backfill", errors=errors)
    await conn.execute(update(backfills).where(backfills.c.id == backfill_id).values(entities=count))


async def _own(conn: AsyncConnection, tenant_id: str, backfill_id: UUID, *, is_locked: bool = False) -> RowMapping:
    query = select(backfills).where(backfills.c.id == backfill_id, backfills.c.tenant_id == tenant_id)
    if is_locked:
        query = query.with_for_update()
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", "there is no such backfill")
    return row
