"""The delivery rows: noting what became of tries, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, Interval, Text, Uuid, case, cast, column, func, insert, or_, update, values
from sqlalchemy.ext.asyncio import AsyncConnection

from control.callbacks.claims import Claimed
from control.callbacks.schedule import CallbackVerdict, DeliveryState
from control.tables import deliveries, process_events
from control.transitions import lock_all
from resources.callbacks.sender import Outcome

_EVENTS = {
    DeliveryState.DELIVERED: "callback_delivered",
    DeliveryState.PENDING: "callback_failed",
    DeliveryState.EXHAUSTED: "callback_exhausted",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One try, and what follows from it."""

    claimed: Claimed
    outcome: Outcome
    verdict: CallbackVerdict


async def mark(conn: AsyncConnection, tried: Sequence[Tried]) -> None:
    """Note what became of the tries. A failure counts only if nobody took the delivery over after its lease."""
    # Their events refer to the processes, which everybody locks before what belongs to them.
    await lock_all(conn, {each.claimed.process_id for each in tried})
    found = values(
        column("id", Uuid),
        column("tries", Integer),
        column("state", Text),
        column("status", Integer),
        column("error", Text),
        column("delay", Interval),
        name="found",
    ).data([_values(each) for each in tried])
    # Cast where they are used: a column of nothing but NULLs would be taken for text.
    is_delivered = found.c.state == DeliveryState.DELIVERED.value
    change = (
        update(deliveries)
        .where(
            deliveries.c.id == found.c.id,
            deliveries.c.state == DeliveryState.PENDING.value,
            or_(is_delivered, deliveries.c.tries == found.c.tries),
        )
        .values(
            state=found.c.state,
            last_status=cast(found.c.status, Integer),
            last_error=cast(found.c.error, Text),
            next_try_at=func.coalesce(func.now() + cast(found.c.delay, Interval), deliveries.c.next_try_at),
            delivered_at=case((is_delivered, func.now())),
        )
        .returning(deliveries.c.id)
    )
    marked = set((await conn.execute(change)).scalars())
    events = [_event(each) for each in tried if each.claimed.id in marked]
    if events:
        await conn.execute(insert(process_events), events)


def _values(each: Tried) -> tuple[Any, ...]:
    outcome, verdict = each.outcome, each.verdict
    error = f"{outcome.error.value}: {outcome.detail}" if outcome.error else outcome.detail
    said = None if outcome.is_delivered else error
    return (each.claimed.id, each.claimed.tries, verdict.state.value, outcome.status, said, verdict.delay)


def _event(each: Tried) -> dict[str, Any]:
    claimed, outcome, delay = each.claimed, each.outcome, each.verdict.delay
    detail = {
        "webhook_id": str(claimed.id),
        "url": claimed.url,
        "tries": claimed.tries,
        "status": outcome.status,
        "error": outcome.error and outcome.error.value,
        "next_try_in_seconds": delay and round(delay.total_seconds()),
    }
    kind = _EVENTS[each.verdict.state]
    return {
        "process_id": claimed.process_id,
        "attempt": claimed.attempt,
        "kind": kind,
        "actor": "worker",
        "detail": detail,
    }
