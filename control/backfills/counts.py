"""How many of a backfill's processes are in which state."""

from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, cast, exists, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.backfills.tables import UNCOUNTED_SQL, backfills
from control.tables import ACTIVE_SQL, processes
from resources.database import Database

_AT_ONCE = 10


def is_active(backfill_id: UUID | ColumnElement[UUID]) -> ColumnElement[bool]:
    """Return the condition that a process of the backfill has not ended."""
    found: ColumnElement[bool] = exists().where(processes.c.backfill_id == backfill_id, ACTIVE_SQL)
    return found


async def by_state(conn: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, Counter[str]]:
    """Return backfill → state → number, for each of ``ids``. What retention has removed is counted too."""
    of_each = (processes.c.backfill_id, processes.c.state)
    here = select(*of_each, func.count()).where(processes.c.backfill_id.in_(ids)).group_by(*of_each)
    pruned = func.jsonb_each_text(backfills.c.pruned).table_valued("key", "value")
    gone = (
        select(backfills.c.id, pruned.c.key, cast(pruned.c.value, BigInteger))
        .join(pruned, true())
        .where(backfills.c.id.in_(ids))
    )
    counts: dict[UUID, Counter[str]] = {each: Counter() for each in ids}
    # One statement, so that what is removed meanwhile counts once.
    for backfill_id, state, number in await conn.execute(here.union_all(gone)):
        counts[backfill_id][state] += number
    return counts


async def keep_counts(db: Database) -> int:
    """Keep what became of backfills whose last process has ended; returns of how many.

    Nothing changes it any more, and retention takes the processes away one day. Raises DatabaseUnavailableError.
    """
    over = select(backfills.c.id).where(UNCOUNTED_SQL, ~is_active(backfills.c.id)).order_by(backfills.c.updated_at)
    # Locked: whoever steers one at this moment may have seen its last process before it ended.
    over = over.limit(_AT_ONCE).with_for_update(skip_locked=True)
    async with db.transaction() as conn:
        counts = await by_state(conn, (await conn.execute(over)).scalars().all())
        for backfill_id, ended in counts.items():
            await conn.execute(update(backfills).where(backfills.c.id == backfill_id).values(ended=ended))
    return len(counts)


async def keep_pruned(conn: AsyncConnection, process_ids: Collection[UUID]) -> None:
    """Keep what became of processes that are about to be removed, where ``keep_counts`` has not done so.

    A backfill may be paused, or go on, for longer than its first processes are kept.
    """
    theirs = select(processes.c.backfill_id).where(processes.c.id.in_(process_ids))
    uncounted = (backfills.c.id.in_(theirs), backfills.c.ended.is_(None))
    rows = select(backfills.c.id, backfills.c.pruned).where(*uncounted)
    # In the one order in which all lock them.
    for row in await conn.execute(rows.order_by(backfills.c.id).with_for_update()):
        mine = (processes.c.id.in_(process_ids), processes.c.backfill_id == row.id)
        states = await conn.execute(select(processes.c.state).where(*mine))
        pruned = Counter(row.pruned) + Counter(states.scalars())
        await conn.execute(update(backfills).where(backfills.c.id == row.id).values(pruned=pruned))
