"""Whose turn it is among the backfills, and how many processes it may make."""

from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, and_, cast, exists, func, or_, select

from contracts.backfills import BackfillState
from control.backfills.tables import AT_WORK_SQL, backfills
from control.tables import WAITING_SQL, actions, processes, tenants

WINDOW = 1000
"""Processes of one backfill that wait for their release, at most: the rest are not made yet."""


def next_turn() -> Select[Any]:
    """Select the backfill that is worked on next, with its ``room``.

    The tenant whose backfills were longest untouched goes first; a backfill without room has no turn, nor has one
    whose action is not published: a code location that is replaced publishes it again.
    """
    touched = func.max(backfills.c.updated_at).over(partition_by=backfills.c.tenant_id)
    at_work = (
        select(backfills.c.id, touched.label("tenant_touched"), _room().label("room"))
        .join(tenants, tenants.c.id == backfills.c.tenant_id)
        .where(AT_WORK_SQL)
        .subquery("at_work")
    )
    is_published = exists().where(actions.c.name == backfills.c.request["action"].astext, actions.c.is_published == 1)
    return (
        select(backfills, at_work.c.room)
        .join(at_work, at_work.c.id == backfills.c.id)
        .where(or_(backfills.c.state == BackfillState.CANCELLING.value, and_(at_work.c.room > 0, is_published)))
        .order_by(at_work.c.tenant_touched, backfills.c.updated_at)
        .limit(1)
    )


def _room() -> ColumnElement[int]:
    """How many more processes may wait: what is left of the backfill's window, and of its tenant's backlog if less."""
    backlog = cast(tenants.c.limits["backlog"].astext, Integer)
    of_tenant = backlog - _waiting(processes.c.tenant_id == backfills.c.tenant_id, func.coalesce(backlog, 0))
    # LEAST passes over NULL, which the tenant's is when it has no bound.
    return func.least(WINDOW - _waiting(processes.c.backfill_id == backfills.c.id, WINDOW), of_tenant)


def _waiting(whose: ColumnElement[bool], most: Any) -> ScalarSelect[int]:
    """Count what waits for its release, up to ``most``."""
    waiting = select(processes.c.id).where(whose, WAITING_SQL).limit(most)
    return select(func.count()).select_from(waiting.correlate(backfills, tenants).subquery()).scalar_subquery()
