"""The delivery rows: finding whom something is due for, and claiming it under a lease."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    RowMapping,
    Select,
    Text,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    column,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from control.callbacks.places import Receiver, Waiting
from control.callbacks.schedule import TIME_LEFT, DeliveryState
from control.tables import callback_host, deliveries, processes, tenants

LEASE = timedelta(seconds=60)
"""Longer than a send takes, unless its name is still looked up; afterwards it is sent again."""
_LOOKED_AT = 256
_WORN_OUT = 500
"""Given up at a time."""
_IS_PENDING = deliveries.c.state == DeliveryState.PENDING.value
_IS_DUE = (_IS_PENDING, deliveries.c.next_try_at <= func.now())


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that is ours to try, until its lease is over. ``tries`` counts this one."""

    id: UUID
    url: str
    host: str
    body: str
    tries: int
    process_id: UUID
    tenant_id: str
    attempt: int
    secret: str = field(repr=False)
    older_secrets: list[dict[str, str]] = field(repr=False)

    @property
    def receiver(self) -> Receiver:
        """Whose places it takes."""
        return Receiver(self.tenant_id, self.host)

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``claim``."""
        return cls(**row)


async def look(conn: AsyncConnection, after: Mapping[str, str]) -> tuple[list[Waiting], dict[str, str]]:
    """Return the receivers that something is due for, and the ``after`` of the next look.

    What is read is one row for each receiver that has anything pending, however much that is, and of ``_LOOKED_AT``
    receivers of a tenant at most: with more, the next look goes on behind them. ``after`` is tenant → host.
    """
    found = await conn.execute(_LOOK, {"begun_tenant": list(after), "begun_host": list(after.values())})
    rows = found.all()
    waiting = [Waiting(row.next_try_at, Receiver(row.tenant, row.host)) for row in rows if row.is_due]
    return waiting, {row.tenant: row.host for row in rows if row.number == _LOOKED_AT}


async def claim(conn: AsyncConnection, allotted: Mapping[Receiver, int]) -> list[Claimed]:
    """Claim up to so many due deliveries of each receiver, its longest due ones first."""
    given = {
        "share_tenant": [each.tenant for each in allotted],
        "share_host": [each.host for each in allotted],
        "share_most": list(allotted.values()),
    }
    return [Claimed.of(row) for row in (await conn.execute(_CLAIM, given)).mappings()]


async def claim_worn_out(conn: AsyncConnection, receiver: Receiver) -> list[Claimed]:
    """Claim what has been due to ``receiver`` for longer than all its tries would take."""
    is_over = deliveries.c.next_try_at <= func.now() - case(TIME_LEFT, value=deliveries.c.tries, else_=timedelta())
    of_receiver = (deliveries.c.tenant_id == receiver.tenant, callback_host == receiver.host)
    worn_out = select(deliveries.c.id).where(*_IS_DUE, *of_receiver, is_over).limit(_WORN_OUT)
    rows = await conn.execute(_claimed(worn_out.with_for_update(skip_locked=True)))
    return [Claimed.of(row) for row in rows.mappings()]


def _unnest(name: str, **columns: TypeEngine[Any]) -> FromClause:
    arrays = [bindparam(f"{name}_{each}", type_=ARRAY(kind)) for each, kind in columns.items()]
    named = [column(each, kind) for each, kind in columns.items()]
    return func.unnest(*arrays).table_valued(*named).render_derived(name)


def _next_receiver(tenant: ColumnElement[str], host: ColumnElement[str]) -> FromClause:
    return (
        select(callback_host.label("host"), deliveries.c.next_try_at)
        .where(deliveries.c.tenant_id == tenant, _IS_PENDING, callback_host > host)
        .order_by(callback_host, deliveries.c.next_try_at)
        .limit(1)
        .lateral()
    )


def _looking() -> Select[Any]:
    begun = _unnest("begun", tenant=Text(), host=Text())
    first = _next_receiver(tenants.c.id, func.coalesce(begun.c.host, ""))
    of_tenants = tenants.outerjoin(begun, begun.c.tenant == tenants.c.id).join(first, true())
    columns = (first.c.host, first.c.next_try_at, literal(1, Integer).label("number"))
    seen = select(tenants.c.id.label("tenant"), *columns).select_from(of_tenants).cte("seen", recursive=True)
    following = _next_receiver(seen.c.tenant, seen.c.host)
    seen = seen.union_all(
        select(seen.c.tenant, following.c.host, following.c.next_try_at, seen.c.number + 1)
        .select_from(seen.join(following, true()))
        .where(seen.c.number < _LOOKED_AT)
    )
    is_due = seen.c.next_try_at <= func.now()
    return select(seen, is_due.label("is_due")).where(or_(is_due, seen.c.number == _LOOKED_AT))


def _claiming() -> Update:
    share = _unnest("share", tenant=Text(), host=Text(), most=Integer())
    oldest = (
        select(deliveries.c.id)
        .where(deliveries.c.tenant_id == share.c.tenant, callback_host == share.c.host, *_IS_DUE)
        .order_by(deliveries.c.next_try_at)
        .limit(share.c.most)
        .with_for_update(skip_locked=True)
        .lateral("oldest")
    )
    return _claimed(select(oldest.c.id).select_from(share.join(oldest, true())))


def _claimed(rows: Select[tuple[UUID]]) -> Update:
    # An array is made once, and found by its ids: of a join PostgreSQL expects so much that it reads the whole table.
    picked = func.array(rows.scalar_subquery(), type_=ARRAY(Uuid))
    return (
        update(deliveries)
        .where(
            deliveries.c.id == any_(picked),
            processes.c.id == deliveries.c.process_id,
            tenants.c.id == deliveries.c.tenant_id,
        )
        .values(tries=deliveries.c.tries + 1, next_try_at=func.now() + LEASE)
        .returning(
            deliveries.c.id,
            deliveries.c.url,
            callback_host.label("host"),
            deliveries.c.body,
            deliveries.c.tries,
            deliveries.c.process_id,
            deliveries.c.tenant_id,
            processes.c.attempt,
            tenants.c.webhook_secret.label("secret"),
            tenants.c.older_webhook_secrets.label("older_secrets"),
        )
    )


# Written once: to build them anew takes longer than PostgreSQL needs to carry them out.
_LOOK = _looking()
_CLAIM = _claiming()
