"""The delivery rows: claiming what is due under a lease, and noting what became of it, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    Integer,
    Interval,
    RowMapping,
    Text,
    Update,
    Uuid,
    case,
    cast,
    column,
    func,
    insert,
    literal,
    or_,
    select,
    update,
    values,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from control.callback_schedule import MAX_TRIES, DeliveryState, Verdict
from control.tables import deliveries, process_events, processes, tenants
from resources.callback_sender import Outcome, SendError

LEASE = timedelta(seconds=60)
"""Longer than any send may take; afterwards another worker sends again."""
_LOOKED_AT = 1000
"""Due rows ranked per claim; the hosts whose places are taken are left out before."""
_NEVER_ENDED = Outcome(error=SendError.NEVER_ENDED, detail="the last try was begun, and nothing became known of it")
_EVENTS = {
    DeliveryState.DELIVERED: "callback_delivered",
    DeliveryState.PENDING: "callback_failed",
    DeliveryState.EXHAUSTED: "callback_exhausted",
}


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that is ours to try, until its lease is over. ``tries`` counts this one."""

    id: UUID
    url: str
    body: str
    tries: int
    process_id: UUID
    attempt: int
    secret: str = field(repr=False)

    @property
    def host(self) -> str:
        """The URL's host and port, as ``claim`` counts them."""
        return self.url.split("/", 3)[2]

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``claim``."""
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Tried:
    """One try, and what follows from it."""

    claimed: Claimed
    outcome: Outcome
    verdict: Verdict


async def claim(conn: AsyncConnection, free: int, per_host: int, taken: Sequence[str]) -> list[Claimed]:
    """Claim up to ``free`` due deliveries, up to ``per_host`` for one host and none for the hosts ``taken``.

    What was claimed ``MAX_TRIES`` times and never judged is exhausted instead: it may be what ends the workers.
    """
    rows = await conn.execute(_claiming(free, per_host, taken))
    claimed = [Claimed.of(row) for row in rows.mappings()]
    worn_out = [each for each in claimed if each.tries > MAX_TRIES]
    if worn_out:
        await mark(conn, [Tried(each, _NEVER_ENDED, Verdict(DeliveryState.EXHAUSTED)) for each in worn_out])
    return [each for each in claimed if each.tries <= MAX_TRIES]


def _claiming(free: int, per_host: int, taken: Sequence[str]) -> Update:
    is_due = (deliveries.c.state == DeliveryState.PENDING.value, deliveries.c.next_try_at <= func.now())
    host = func.split_part(deliveries.c.url, literal("/"), 3)
    oldest = select(deliveries.c.id, deliveries.c.next_try_at, host.label("host")).where(*is_due, host.not_in(taken))
    seen = oldest.order_by(deliveries.c.next_try_at).limit(_LOOKED_AT).subquery("seen")
    place = func.row_number().over(partition_by=seen.c.host, order_by=seen.c.next_try_at)
    ranked = select(seen.c.id, seen.c.next_try_at, place.label("place")).subquery("ranked")
    fair = select(ranked.c.id).where(ranked.c.place <= per_host).order_by(ranked.c.place, ranked.c.next_try_at)
    free_rows = select(deliveries.c.id).where(deliveries.c.id.in_(fair.limit(free)), *is_due)
    return (
        update(deliveries)
        .where(
            deliveries.c.id.in_(free_rows.with_for_update(skip_locked=True)),
            processes.c.id == deliveries.c.process_id,
            tenants.c.id == deliveries.c.tenant_id,
        )
        .values(tries=deliveries.c.tries + 1, next_try_at=func.now() + LEASE)
        .returning(
            deliveries.c.id,
            deliveries.c.url,
            deliveries.c.body,
            deliveries.c.tries,
            deliveries.c.process_id,
            processes.c.attempt,
            tenants.c.webhook_secret.label("secret"),
        )
    )


async def mark(conn: AsyncConnection, tried: Sequence[Tried]) -> None:
    """Note what became of the tries. A failure counts only if nobody took the delivery over after its lease."""
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
