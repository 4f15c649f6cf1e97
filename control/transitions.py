"""The one place where a process changes state.

Every move is one compare-and-set UPDATE plus a row in ``process_events``, with what must happen in the same
transaction: the next attempt's outbox row, or the delivery of a terminal state.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.callbacks import Artifact, Callback, CallbackData, Timings, webhook_id
from contracts.reasons import Reason
from contracts.states import MOVES, State
from control.schema import Row
from control.tables import deliveries, outbox, process_events, processes, subscribers

_RELEASE_COLUMNS = ("released_at", "topic_id", "log_partition", "log_offset")
_ATTEMPT_COLUMNS = (*_RELEASE_COLUMNS, "launch_id", "run_id", "ending")


def allowed_before(to: State) -> frozenset[State]:
    """Return the states that a process may leave for ``to``."""
    return frozenset(state for state, following in MOVES.items() if to in following)


def begun_anew(attempt: int, not_before: Any) -> dict[str, Any]:
    """Return the columns of a process whose current attempt becomes ``attempt``."""
    return {**dict.fromkeys(_ATTEMPT_COLUMNS), "attempt": attempt, "not_before": not_before}


def consequences(to: State, now: Any) -> dict[str, Any]:
    """Return the columns that change with every move to ``to``; ``now`` is a moment, or SQL for it."""
    ended = {"finished_at": now, "ending": None} if to.is_terminal else {}
    return {"state": to.value, "updated_at": now, **ended}


def listeners(row: Row, subscribed: Iterable[str]) -> list[str]:
    """Return every address that hears of the end of the process ``row``, each once."""
    return sorted({*subscribed, *filter(None, [row["callback_url"]])})


async def move(
    conn: AsyncConnection,
    process_id: UUID,
    to: State,
    *,
    actor: str,
    attempt: int | None = None,
    detail: Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> RowMapping | None:
    """Move a process to ``to`` if its state allows that and, when given, ``attempt`` is current.

    Returns the row as it now stands, or None when nothing was changed: another outcome was first.
    """
    # The locked row decides, not the statement's own snapshot: a move that waited for another one sees its result.
    locked = select(processes.c.id, processes.c.state, processes.c.attempt).where(processes.c.id == process_id)
    old = locked.with_for_update().subquery("old")
    change = (
        update(processes)
        .where(processes.c.id == old.c.id, old.c.state.in_([state.value for state in allowed_before(to)]))
        .values(**consequences(to, func.now()), **(columns or {}))
        .returning(*processes.c, old.c.state.label("from_state"))
    )
    if attempt is not None:
        change = change.where(old.c.attempt == attempt)
    row = (await conn.execute(change)).mappings().one_or_none()
    if row is None:
        return None
    await note(conn, row, kind=to.value, actor=actor, detail=detail, states=(State(row["from_state"]), to))
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
    columns = begun_anew(attempt + 1, func.now() + delay)
    detail = {"reason": reason.model_dump(mode="json")}
    return await move(conn, process_id, State.ACCEPTED, actor=actor, attempt=attempt, detail=detail, columns=columns)


async def enqueue(conn: AsyncConnection, process_id: UUID, attempt: int) -> None:
    """Let the worker release this attempt (again): at most one row waits per process."""
    row = upsert(outbox).values(process_id=process_id, attempt=attempt)
    await conn.execute(row.on_conflict_do_update(index_elements=["process_id"], set_={"attempt": attempt}))


async def send_again(conn: AsyncConnection, row: Row, *, delay: timedelta, actor: str) -> None:
    """Let the current attempt of the accepted process ``row``, which is locked, be released anew after ``delay``."""
    blank = dict.fromkeys(_RELEASE_COLUMNS)
    change = update(processes).where(processes.c.id == row["id"])
    await conn.execute(change.values(**blank, not_before=func.now() + delay, updated_at=func.now()))
    await enqueue(conn, row["id"], row["attempt"])
    place = {"topic_id": row["topic_id"], "partition": row["log_partition"], "offset": row["log_offset"]}
    await note(conn, row, kind="resent", actor=actor, detail={**place, "again_in_seconds": delay.total_seconds()})


async def times_resent(conn: AsyncConnection, row: Row) -> int:
    """Return how often the current attempt of the process ``row`` was sent again."""
    events = process_events.c
    mine = (events.process_id == row["id"], events.attempt == row["attempt"], events.kind == "resent")
    return (await conn.execute(select(func.count()).where(*mine))).scalar_one()


async def note(
    conn: AsyncConnection,
    row: Row,
    *,
    kind: str,
    actor: str,
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
        )
    )


async def _deliver(conn: AsyncConnection, row: RowMapping) -> None:
    others = await conn.execute(select(subscribers.c.url).where(subscribers.c.process_id == row["id"]))
    for url in listeners(row, others.scalars()):
        await deliver(conn, row, url)


async def deliver(conn: AsyncConnection, row: RowMapping, url: str) -> None:
    """Let the outcome of the terminal process ``row`` be told to ``url``, once, whoever else asked for that."""
    of_attempt = (process_events.c.process_id == row["id"], process_events.c.attempt == row["attempt"])
    events = (await conn.execute(select(process_events).where(*of_attempt).order_by(process_events.c.id))).mappings()
    body = callback_of(row, events.all()).model_dump_json()
    delivery = {"process_id": row["id"], "tenant_id": row["tenant_id"], "url": url, "body": body}
    statement = upsert(deliveries).values(id=webhook_id(row["id"], State(row["state"]), url), **delivery)
    await conn.execute(statement.on_conflict_do_nothing())


def callback_of(row: Row, events: Sequence[Row]) -> Callback:
    """Return the callback that tells the outcome of the terminal process ``row``, with its last attempt's events."""
    state = State(row["state"])
    began = next((event["at"] for event in events if event["kind"] == State.RUNNING), None)
    told: Mapping[str, Any] = next((event["detail"] for event in events if event["kind"] == State.SUCCEEDED), {})
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
                metrics=told.get("resources", {}),
                timings=Timings(
                    waited=None if began is None else _seconds(row["created_at"], began),
                    ran=None if began is None else _seconds(began, row["finished_at"]),
                    total=_seconds(row["created_at"], row["finished_at"]),
                ),
                accepted_at=row["created_at"],
                finished_at=row["finished_at"],
            ),
        }
    )


def _seconds(since: datetime, until: datetime) -> float:
    return round((until - since).total_seconds(), 3)
