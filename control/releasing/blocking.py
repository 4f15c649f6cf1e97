"""Why a process does not go on right now, in words for its requester."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Exists, RowMapping, and_, exists, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.backfills import BackfillState
from contracts.reasons import Reason
from contracts.reports import Event
from contracts.states import State
from contracts.tenancy import TenantLimits
from contracts.views import Blocked
from control.backfills.tables import backfills
from control.recovery.tables import RECOVERING
from control.tables import IN_FLIGHT_SQL, WAITING_SQL, processes, tenants

_COUNTED = 10_000


async def blocked_by(
    conn: AsyncConnection, row: RowMapping, events: Sequence[RowMapping], max_in_flight: int
) -> Blocked | None:
    """Return what the process ``row`` waits for; None while it runs, or has ended.

    ``events`` are those of its current attempt, ``max_in_flight`` is how many the deployment has places for.
    """
    if row["ending"] is not None:
        return Blocked(code="permit_live", message="ends as soon as no commit can appear any more")
    if row["state"] == State.QUEUED:
        return _before_start(events)
    if row["state"] != State.ACCEPTED:
        return None
    if any(event["kind"] == "deferred" for event in events):
        return Blocked(code="action_not_deployed", message="no code location offers this action's code")
    if row["released_at"] is not None:
        return Blocked(code="waiting_for_sensor", message="released; the sensor has not taken it in yet")
    return await _before_release(conn, row, max_in_flight)


def _before_start(events: Sequence[RowMapping]) -> Blocked:
    told = [event["detail"]["reason"] for event in events if event["kind"] == Event.WAITING]
    if not told:
        return Blocked(code="waiting_for_run", message="handed to Dagster's run queue")
    reason = Reason.model_validate(told[-1])
    return Blocked(code=reason.code, message=reason.message)


async def _before_release(conn: AsyncConnection, row: RowMapping, max_in_flight: int) -> Blocked:
    is_paused = _is_paused(row["backfill_id"])
    query = select(func.now().label("now"), RECOVERING.label("is_recovering"), is_paused.label("is_paused"))
    found = (await conn.execute(query)).mappings().one()
    if found["is_recovering"]:
        return Blocked(code="recovering", message="the control plane is being rebuilt after a restore of its database")
    if row["not_before"] > found["now"]:
        return Blocked(code="waiting_for_its_time", message=f"not before {row['not_before'].isoformat()}")
    if found["is_paused"]:
        return Blocked(code="backfill_paused", message="its backfill is paused")
    position = await _ahead(conn, row)
    full = await _full(conn, row, max_in_flight)
    queue = f"{position} of yours go before it"
    if full is None:
        return Blocked(code="waiting_for_release", message=queue, position=position)
    code, told = full
    return Blocked(code=code, message=f"{told}; {queue}", position=position)


async def _full(conn: AsyncConnection, row: RowMapping, max_in_flight: int) -> tuple[str, str] | None:
    """Return the limit that is reached, as a code and in words; None when there is a free place."""
    mine = processes.c.tenant_id == row["tenant_id"]
    of_tenant = (func.count().filter(mine), func.coalesce(func.sum(processes.c.cores).filter(mine), 0))
    flying, own, cores = (await conn.execute(select(func.count(), *of_tenant).where(IN_FLIGHT_SQL))).one()
    limits = TenantLimits.model_validate(
        await conn.scalar(select(tenants.c.limits).where(tenants.c.id == row["tenant_id"]))
    )
    if limits.in_flight is not None and own >= limits.in_flight:
        return "tenant_limit", f"your tenant's limit: {own} of {limits.in_flight} processes are in flight"
    if limits.in_flight_cores is not None and cores + row["cores"] > limits.in_flight_cores:
        return "tenant_limit", f"your tenant's limit: {cores} of {limits.in_flight_cores} cores are in flight"
    if flying >= max_in_flight:
        # Not how many there are: less one's own, that is what the others have in flight.
        return "no_place_free", "every place is taken"
    return None


async def _ahead(conn: AsyncConnection, row: RowMapping) -> int:
    """Return how many of the tenant's own go before this one, up to a bound, in the order of releasing.order."""
    mine = processes.c
    older = tuple_(mine.created_at, mine.id) < tuple_(literal(row["created_at"]), literal(row["id"]))
    sooner = or_(mine.priority > row["priority"], and_(mine.priority == row["priority"], older))
    is_ready = (WAITING_SQL, mine.not_before <= func.now(), mine.ending.is_(None), ~_is_paused(mine.backfill_id))
    ahead = select(mine.id).where(mine.tenant_id == row["tenant_id"], *is_ready, sooner).limit(_COUNTED)
    return (await conn.execute(select(func.count()).select_from(ahead.subquery()))).scalar_one()


def _is_paused(backfill_id: UUID | ColumnElement[UUID] | None) -> Exists:
    return exists().where(backfills.c.id == backfill_id, backfills.c.state == BackfillState.PAUSED.value)
