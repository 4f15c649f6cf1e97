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
    Select,
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
    true,
    update,
    values,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from control.callbacks.schedule import TIME_LEFT, CallbackVerdict, DeliveryState
from control.tables import deliveries, process_events, processes, tenants
from control.transitions import lock_all
from resources.callbacks.sender import Outcome

LEASE = timedelta(seconds=60)
"""Longer than a send takes, unless its name is still looked up; afterwards it is sent again."""
_LOOKED_AT = 256
"""Due rows of each tenant ranked per claim; the hosts whose places are taken are left out before."""
_WORN_OUT = 500
"""Given up at a time."""
_IS_DUE = (deliveries.c.state == DeliveryState.PENDING.value, deliveries.c.next_try_at <= func.now())
_HOST = func.lower(func.split_part(func.split_part(deliveries.c.url, literal("/"), 3), literal("?"), 1))
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
    tenant_id: str
    attempt: int
    secret: str = field(repr=False)
    older_secrets: list[dict[str, str]] = field(repr=False)

    @property
    def host(self) -> str:
        """The URL's host and port, as ``claim`` counts them."""
        return self.url.split("/", 3)[2].partition("?")[0].lower()

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``claim``."""
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Tried:
    """One try, and what follows from it."""

    claimed: Claimed
    outcome: Outcome
    verdict: CallbackVerdict


@dataclass(frozen=True, slots=True)
class Room:
    """What may be begun: how much in all, for one host and for one tenant; for whom nothing more, and for whom one."""

    free: int
    per_host: int
    per_tenant: int
    hosts: Sequence[str] = ()
    tenants: Sequence[str] = ()
    single: Sequence[str] = ()
    """The hosts that are tried once before anything else is begun."""


async def claim(conn: AsyncConnection, room: Room) -> list[Claimed]:
    """Claim as many due deliveries as there is room for; each tenant in turn, its longest due ones first."""
    rows = await conn.execute(_claiming(room))
    return [Claimed.of(row) for row in rows.mappings()]


async def claim_worn_out(conn: AsyncConnection, host: str) -> list[Claimed]:
    """Claim deliveries to ``host`` that have been due for longer than all their tries would take."""
    is_over = deliveries.c.next_try_at <= func.now() - case(TIME_LEFT, value=deliveries.c.tries, else_=timedelta())
    worn_out = select(deliveries.c.id).where(*_IS_DUE, _HOST.in_([host]), is_over).limit(_WORN_OUT)
    rows = await conn.execute(_claimed(worn_out))
    return [Claimed.of(row) for row in rows.mappings()]


def _claiming(room: Room) -> Update:
    # From each tenant's own index range: however much one has due, the others are seen.
    oldest = (
        select(deliveries.c.id, deliveries.c.next_try_at, _HOST.label("host"))
        .where(deliveries.c.tenant_id == tenants.c.id, *_IS_DUE, _HOST.not_in(room.hosts))
        .order_by(deliveries.c.next_try_at)
        .limit(_LOOKED_AT)
        .correlate(tenants)
        .lateral("oldest")
    )
    of_host = func.row_number().over(partition_by=oldest.c.host, order_by=oldest.c.next_try_at)
    of_tenant = func.row_number().over(partition_by=tenants.c.id, order_by=oldest.c.next_try_at)
    ranked = (
        select(oldest, of_host.label("of_host"), of_tenant.label("of_tenant"))
        .select_from(tenants.join(oldest, true()))
        .where(tenants.c.id.not_in(room.tenants))
        .subquery("ranked")
    )
    fair = (
        select(ranked.c.id)
        .where(ranked.c.of_host <= case((ranked.c.host.in_(room.single), 1), else_=room.per_host))
        .where(ranked.c.of_tenant <= room.per_tenant)
        .order_by(ranked.c.of_tenant, ranked.c.of_host, ranked.c.next_try_at)
        .limit(room.free)
    )
    return _claimed(select(deliveries.c.id).where(deliveries.c.id.in_(fair), *_IS_DUE))


def _claimed(free_rows: Select[tuple[UUID]]) -> Update:
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
            deliveries.c.tenant_id,
            processes.c.attempt,
            tenants.c.webhook_secret.label("secret"),
            tenants.c.older_webhook_secrets.label("older_secrets"),
        )
    )


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
