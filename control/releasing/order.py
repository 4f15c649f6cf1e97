"""Whose turn it is: places go to whoever has the fewest in flight, then by priority, then by age."""

from typing import Any

from sqlalchemy import ColumnElement, Float, Select, cast, func, or_, select, true, union_all
from sqlalchemy.sql.selectable import LateralFromClause

from control.backfills.tables import RELEASED_SQL, backfills
from control.tables import IN_FLIGHT_SQL, WAITING_SQL, outbox, processes, tenants


def next_to_release(room: int) -> Select[Any]:
    """Fill ``room`` places one by one, each from the tenant that then has the fewest in flight for its weight.

    Its n-th waiting process would be a tenant's (in flight + n)-th: ordering by that number is filling one by one.
    A tenant's own limits end its turn at the first process that is too many; one that is larger than the limit goes
    when it can go alone.
    """
    flying = select(
        processes.c.tenant_id, func.count().label("count"), func.sum(processes.c.cores).label("cores")
    ).where(IN_FLIGHT_SQL)
    busy = flying.group_by(processes.c.tenant_id).subquery("busy")
    first = _first(room)
    number = func.coalesce(busy.c.count, 0) + first.c.n
    cores = func.coalesce(busy.c.cores, 0) + first.c.cores
    return (
        select(first, func.now().label("picked_at"))
        .select_from(tenants.join(first, true()).outerjoin(busy, busy.c.tenant_id == first.c.tenant_id))
        .where(func.coalesce(number <= _limit("in_flight"), true()))
        .where(or_(number == 1, func.coalesce(cores <= _limit("in_flight_cores"), true())))
        .order_by(
            number / func.coalesce(_limit("weight"), 1.0), first.c.priority.desc(), first.c.created_at, first.c.id
        )
        .limit(room)
    )


def _first(room: int) -> LateralFromClause:
    """Select a tenant's first ``room``, numbered, with how many cores they and those before them would use.

    The first of those without a backfill, and of each of its backfills that is not paused: each are read from one
    index in their order, so neither a long backlog nor what waits of a paused backfill costs anything.
    """
    alone = _waiting(room).where(processes.c.tenant_id == tenants.c.id, processes.c.backfill_id.is_(None))
    of_one = _waiting(room).where(processes.c.tenant_id == tenants.c.id, processes.c.backfill_id == backfills.c.id)
    of_each = of_one.correlate(tenants, backfills).lateral("of_one")
    is_mine = (backfills.c.tenant_id == tenants.c.id, RELEASED_SQL)
    of_backfills = select(of_each).select_from(backfills.join(of_each, true())).where(*is_mine)
    found = union_all(select(alone.correlate(tenants).subquery("alone")), of_backfills.correlate(tenants)).subquery(
        "found"
    )
    order = (found.c.priority.desc(), found.c.created_at, found.c.id)
    needed = [column for column in found.c if column.name != "cores"]
    return (
        select(
            *needed,
            func.row_number().over(order_by=order).label("n"),
            func.sum(found.c.cores).over(order_by=order).label("cores"),
        )
        .order_by(*order)
        .limit(room)
        .lateral("first")
    )


def _waiting(room: int) -> Select[Any]:
    needed = ("id", "attempt", "tenant_id", "request", "request_hash", "priority", "created_at", "cores")
    return (
        select(*(processes.c[name] for name in needed))
        .join(outbox, (outbox.c.process_id == processes.c.id) & (outbox.c.attempt == processes.c.attempt))
        # By now() what was accepted since the transaction began would lose a place that was counted as free since then.
        .where(WAITING_SQL, processes.c.not_before <= func.statement_timestamp(), processes.c.ending.is_(None))
        # The backfill is the same for all of them: it stands here because the index begins with it.
        .order_by(processes.c.backfill_id, processes.c.priority.desc(), processes.c.created_at, processes.c.id)
        .limit(room)
    )


def _limit(name: str) -> ColumnElement[float]:
    """Return a tenant's limit as SQL: NULL where it has none."""
    return cast(tenants.c.limits[name].astext, Float)
