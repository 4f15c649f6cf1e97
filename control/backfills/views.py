"""Backfills as their tenant sees them."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.backfills import BackfillState, BackfillView
from control.backfills.counts import by_state
from control.tables import actions


async def view(conn: AsyncConnection, row: RowMapping) -> BackfillView:
    """Return how the backfill in ``row`` stands."""
    (shown,) = await views(conn, [row])
    return shown


async def views(conn: AsyncConnection, rows: Sequence[RowMapping]) -> list[BackfillView]:
    """Return how the backfills in ``rows`` stand."""
    counts = await by_state(conn, [row["id"] for row in rows if row["ended"] is None])
    missing = await _missing(conn, rows)
    names = ("state", "entities", "looked_at", "skipped", "refused", "created_at", "updated_at")
    return [
        BackfillView(
            backfill_id=row["id"],
            action=row["request"]["action"],
            data_version=row["request"]["data_version"],
            last_refusal=_waits_for(row, missing) or row["last_refusal"],
            processes=counts[row["id"]] if row["ended"] is None else row["ended"],
            **{name: row[name] for name in names},
        )
        for row in rows
    ]


async def _missing(conn: AsyncConnection, rows: Sequence[RowMapping]) -> set[str]:
    """Return the actions that backfills among ``rows`` wait for."""
    wanted = {row["request"]["action"] for row in rows if row["state"] == BackfillState.EXPANDING}
    query = select(actions.c.name).where(actions.c.name.in_(wanted), actions.c.is_published == 1)
    return wanted - set((await conn.execute(query)).scalars())


def _waits_for(row: RowMapping, missing: set[str]) -> str | None:
    # Made when it is looked at: what is written down would still stand there when the action is back.
    action = row["request"]["action"]
    if row["state"] != BackfillState.EXPANDING or action not in missing:
        return None
    return f"unknown_action: no action {action!r} is published; the backfill goes on when it is"
