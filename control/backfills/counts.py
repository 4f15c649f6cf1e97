"""How many of a backfill's processes are in which state."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.backfills.tables import UNCOUNTED_SQL, backfills
from control.tables import ACTIVE_SQL, processes
from resources.database import Database

_AT_ONCE = 10


async def by_state(conn: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """Return backfill → state → number, for each of ``ids``."""
    of_each = (processes.c.backfill_id, processes.c.state)
    query = select(*of_each, func.count().label("number")).where(processes.c.backfill_id.in_(ids)).group_by(*of_each)
    counts: dict[UUID, dict[str, int]] = {each: {} for each in ids}
    for found in await conn.execute(query):
        counts[found.backfill_id][found.state] = found.number
    return counts


async def keep_counts(db: Database) -> int:
    """Keep what became of backfills whose last process has ended; returns of how many.

    Nothing changes it any more, and retention takes the processes away one day. Raises DatabaseUnavailableError.
    """
    is_active = exists().where(processes.c.backfill_id == backfills.c.id, ACTIVE_SQL)
    over = select(backfills.c.id).where(UNCOUNTED_SQL, ~is_active).order_by(backfills.c.updated_at).limit(_AT_ONCE)
    async with db.transaction() as conn:
        counts = await by_state(conn, (await conn.execute(over)).scalars().all())
        for backfill_id, ended in counts.items():
            await conn.execute(update(backfills).where(backfills.c.id == backfill_id).values(ended=ended))
    return len(counts)
