"""What PostgreSQL did between two moments: rows, transactions, write-ahead log, connections, and single statements."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Self

from pydantic import SecretStr
from sqlalchemy import text

from deploy.local.stack import Stack
from resources.database import Database

_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+): ")
_QUIET_SECONDS = 12.0
"""An idle connection tells its counts after ten seconds at the latest."""

_COUNTS = """
    SELECT (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database) AS transactions,
           (SELECT sum(sessions) FROM pg_stat_database) AS connections,
           pg_current_wal_lsn() - '0/0'::pg_lsn AS wal_bytes
"""
_ROWS = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del FROM pg_stat_user_tables"


@dataclass(frozen=True, slots=True)
class Counts:
    """What a server has counted up to now, or between two moments."""

    transactions: float
    connections: float
    wal_bytes: float
    inserted: float
    updated: float
    updated_in_place: float
    """Of ``updated``: those that changed no index (heap-only tuples)."""
    deleted: float

    def __sub__(self, earlier: Self) -> "Counts":
        return Counts(*(getattr(self, name) - getattr(earlier, name) for name in self.__slots__))


class Postgres:
    """The server of a stack, as its superuser sees it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[Database]:
        """Yield a connection to one database, whose statements may take minutes."""
        password = self._stack.env()["LAKEMILL_SUPERUSER_PASSWORD"]
        url = f"postgresql+asyncpg://postgres:{password}@{self._stack.ports.address('postgres')}/{name}"
        db = Database(SecretStr(url), pool_size=2, statement_seconds=1200)
        try:
            yield db
        finally:
            await db.close()

    async def counts(self) -> Counts:
        """Return what all databases have counted, once every connection has told."""
        await asyncio.sleep(_QUIET_SECONDS)
        async with self.database("postgres") as db, db.reading() as conn:
            told = (await conn.execute(text(_COUNTS))).mappings().one()
        rows: list[Any] = []
        for name in ("lakemill", "dagster"):
            async with self.database(name) as db, db.reading() as conn:
                rows += (await conn.execute(text(_ROWS))).mappings().all()
        totals = [
            sum(row[column] for row in rows) for column in ("n_tup_ins", "n_tup_upd", "n_tup_hot_upd", "n_tup_del")
        ]
        return Counts(*map(float, (told["transactions"], told["connections"], told["wal_bytes"], *totals)))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Fill a list with each statement that the server is sent during the block, in order. It slows the server."""
        log, found = self._stack.logs.of("postgres"), list[str]()
        asyncio.run(self._log_statements("all"))
        begun = log.stat().st_size
        try:
            yield found
        finally:
            asyncio.run(self._log_statements("none"))
            with log.open(errors="replace") as lines:
                lines.seek(begun)
                found += [line[match.end() :].strip() for line in lines if (match := _STATEMENT.search(line))]

    async def _log_statements(self, which: str) -> None:
        async with self.database("postgres") as db, db.reading() as conn:
            await conn.execute(text(f"ALTER SYSTEM SET log_statement = '{which}'"))
            await conn.execute(text("SELECT pg_reload_conf()"))
            shown = ""
            while shown != which:
                await asyncio.sleep(0.1)
                shown = str(await conn.scalar(text("SHOW log_statement")))
