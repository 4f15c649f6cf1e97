"""What an operator watches: how much waits, for how long, and what needs a person. Counted when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, Table, TextClause, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.backfills import BackfillState
from contracts.states import ACTIVE
from control.backfills.tables import AT_WORK_SQL, backfills
from control.log.tables import cursors, dead_letters, log_gaps
from control.tables import ACTIVE_SQL, EXHAUSTED_SQL, IN_FLIGHT_SQL, PENDING_SQL, WAITING_SQL, deliveries, processes
from resources.database import Database


@dataclass(frozen=True, slots=True)
class Gauges:
    """One look at the control plane. Ages are seconds; 0 when there is nothing."""

    processes: Mapping[str, int]
    """State → processes that have not ended."""
    in_flight: int
    waiting: int
    """Processes that wait for their release."""
    waiting_seconds: float
    """The age of the oldest that could be released by now."""
    callbacks_pending: int
    callbacks_overdue_seconds: float
    """How long the oldest has been due."""
    callbacks_exhausted: int
    backfills: Mapping[str, int]
    """State → backfills that are at work."""
    dead_letters: int
    log_gaps: int
    sensor_silent_seconds: float
    """Since Dagster's sensor last told where it is in the log."""


async def gauges(db: Database) -> Gauges:
    """Count. No tenant is named. Raises DatabaseUnavailableError."""
    async with db.reading() as conn:
        of_state = await _counts(conn, processes, ACTIVE_SQL)
        of_backfills = await _counts(conn, backfills, AT_WORK_SQL)
        return Gauges(
            processes={state.value: of_state.get(state.value, 0) for state in sorted(ACTIVE)},
            in_flight=await _count(conn, _rows(processes).where(IN_FLIGHT_SQL)),
            waiting=await _count(conn, _rows(processes).where(WAITING_SQL)),
            waiting_seconds=await _age(conn, func.min(processes.c.not_before), WAITING_SQL),
            callbacks_pending=await _count(conn, _rows(deliveries).where(PENDING_SQL)),
            callbacks_overdue_seconds=await _age(conn, func.min(deliveries.c.next_try_at), PENDING_SQL),
            callbacks_exhausted=await _count(conn, _rows(deliveries).where(EXHAUSTED_SQL)),
            backfills={
                state.value: of_backfills.get(state.value, 0)
                for state in (BackfillState.EXPANDING, BackfillState.CANCELLING)
            },
            dead_letters=await _count(conn, _rows(dead_letters).where(dead_letters.c.redriven_at.is_(None))),
            log_gaps=await _count(conn, _rows(log_gaps)),
            sensor_silent_seconds=await _age(conn, func.max(cursors.c.seen_at)),
        )


def _rows(table: Table) -> Select[tuple[int]]:
    return select(func.count()).select_from(table)


async def _count(conn: AsyncConnection, query: Select[tuple[int]]) -> int:
    return await conn.scalar(query) or 0


async def _counts(conn: AsyncConnection, table: Table, which: TextClause) -> dict[str, int]:
    query = select(table.c.state, func.count().label("found")).where(which).group_by(table.c.state)
    return {row.state: row.found for row in await conn.execute(query)}


async def _age(
    conn: AsyncConnection, moment: ColumnElement[datetime], *which: TextClause | ColumnElement[bool]
) -> float:
    seconds = func.extract("epoch", func.now() - moment)
    return max(0.0, float(await conn.scalar(select(seconds).where(*which)) or 0))
