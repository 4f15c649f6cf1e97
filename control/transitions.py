"""The one place where a process changes state.

Every move is one compare-and-set UPDATE plus a row in ``process_events``, with what must happen in the same
transaction: the next attempt's outbox row, or the delivery of a terminal state.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.callbacks import Artifact, Callback, CallbackData, webhook_id
from contracts.reasons import Reason
from contracts.states import MOVES, State
from control.tables import deliveries, outbox, process_events, processes

_ATTEMPT_COLUMNS = ("released_at", "topic_id", "log_partition", "log_offset", "launch_id", "run_id", "ending")


async def move(
    conn: AsyncConnection,
    process_id: UUID,
    to: State,
    *,
    actor: str,
    attempt: int | None = None,
    at: datetime | None = None,
    detail: Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> RowMapping | None:
    """Move a process to ``to`` if its state allows that and, when given, ``attempt`` is current.

    Returns the row as it now stands, or None when nothing was changed: another outcome was first.
    """
    allowed = [state.value for state, following in MOVES.items() if to in following]
    # The locked row decides, not the statement's own snapshot: a move that waited for another one sees its result.
    locked = select(processes.c.id, processes.c.state, processes.c.attempt).where(processes.c.id == process_id)
    old = locked.with_for_update().subquery("old")
    change = (
        update(processes)
        .where(processes.c.id == old.c.id, old.c.state.in_(allowed))
        .values(state=to.value, updated_at=func.now(), **_consequences(to), **(columns or {}))
        .returning(*processes.c, old.c.state.label("from_state"))
    )
    if attempt is not None:
        change = change.where(old.c.attempt == attempt)
    row = (await conn.execute(change)).mappings().one_or_none()
    if row is None:
        return None
    await note(conn, row, kind=to.value, actor=actor, at=at, detail=detail, states=(State(row["from_state"]), to))
    if to is State.ACCEPTED:
        await enqueue(conn, process_id, row["attempt"])
    if to.is_terminal:
        await conn.execute(delete(outbox).where(outbox.c.process_id == process_id))
        await _deliver(conn, row)
    return row


async def lock(conn: AsyncConnection, process_id: UUID) -> RowMapping | None:
    """Return the process as it stands and keep everyone else from changing it until the transaction ends."""
    row = await conn.execute(select(processes).where(processes.c.id == process_id).with_for_update())
    return row.mappings().one_or_none()


async def lock_all(conn: AsyncConnection, process_ids: Collection[UUID]) -> None:
    """Lock many processes, in the one order that everybody uses, so that two batches cannot wait for each other."""
    wanted = select(processes.c.id).where(processes.c.id.in_(process_ids)).order_by(processes.c.id)
    await conn.execute(wanted.with_for_update())


async def next_attempt(
    conn: AsyncConnection, process_id: UUID, attempt: int, *, reason: Reason, delay: timedelta, actor: str
) -> RowMapping | None:
    """Make attempt ``attempt + 1`` the current one, released after ``delay``. None when it is not current."""
    columns = {**dict.fromkeys(_ATTEMPT_COLUMNS), "attempt": attempt + 1, "not_before": func.now() + delay}
    detail = {"reason": reason.model_dump(mode="json")}
    return await move(conn, process_id, State.ACCEPTED, actor=actor, attempt=attempt, detail=detail, columns=columns)


async def enqueue(conn: AsyncConnection, process_id: UUID, attempt: int) -> None:
    """Let the worker release this attempt (again): at most one row waits per process."""
    row = upsert(outbox).values(process_id=process_id, attempt=attempt)
    await conn.execute(row.on_conflict_do_update(index_elements=["process_id"], set_={"attempt": attempt}))


async def note(
    conn: AsyncConnection,
    row: RowMapping | Mapping[str, Any],
    *,
    kind: str,
    actor: str,
    at: datetime | None = None,
    detail: Mapping[str, Any] | None = None,
    states: tuple[State | None, State | None] = (None, None),
) -> None:
    """Append one event to the timeline of the process ``row`` (which needs ``id`` and ``attempt``)."""
    from_state, to_state = states
    await conn.execute(
        insert(process_events).values(
            process_id=row["id"],
            attempt=row["attempt"],
            kind=kind,
            from_state=from_state,
            to_state=to_state,
            actor=actor,
            detail=dict(detail or {}),
            **({"at": at} if at else {}),
        )
    )


def _consequences(to: State) -> dict[str, Any]:
    return {"finished_at": func.now(), "ending": None} if to.is_terminal else {}


async def _deliver(conn: AsyncConnection, row: RowMapping) -> None:
    url = row["callback_url"]
    if url is None:
        return
    state = State(row["state"])
    body = callback_of(row).model_dump_json()
    delivery = {"process_id": row["id"], "tenant_id": row["tenant_id"], "url": url, "body": body}
    statement = upsert(deliveries).values(id=webhook_id(row["id"], state, url), **delivery)
    await conn.execute(statement.on_conflict_do_nothing())


def callback_of(row: RowMapping) -> Callback:
    """Return the callback that tells the outcome of the terminal process ``row``."""
    state = State(row["state"])
    return Callback.model_validate(
        {
            "type": f"process.{state.value}",
            "timestamp": row["finished_at"],
            "data": CallbackData(
                process_id=row["id"],
                entity_id=row["entity_id"],
                data_version=row["data_version"],
                action=row["action"],
                dataset=row["dataset"],
                state=state,
                attempt=row["attempt"],
                reason=row["reason"] and Reason.model_validate(row["reason"]),
                artifact=row["artifact"] and Artifact.model_validate(row["artifact"]),
                accepted_at=row["created_at"],
                finished_at=row["finished_at"],
            ),
        }
    )
