"""Statements that wait for a lock: what a race is made of."""

import asyncio

from sqlalchemy import text

from resources.database import Database

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
_SECONDS = 10


async def until_waiting(db: Database, count: int) -> None:
    """Return when ``count`` connections wait for a lock."""
    async with asyncio.timeout(_SECONDS), db.reading() as conn:
        while await conn.scalar(_WAITING) != count:
            pass
