"""PostgreSQL: the engine of the control plane, and the locks that only one worker may hold.

Statements are SQLAlchemy Core and live in ``control/``; this module only opens connections.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from pydantic import SecretStr
from sqlalchemy import event, func, select
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from contracts.problems import LakemillError

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 5
# SQLSTATE classes: connection lost, transaction rolled back (deadlock), resources exhausted, operator intervention
# (shutdown, starting up, statement timeout).
_NOT_NOW = ("08", "40", "53", "57")


class DatabaseUnavailableError(LakemillError):
    """PostgreSQL did not answer in time; nothing was changed, or the commit's answer was lost."""

    retriable = True


class Database:
    """A pool of at most ``pool_size`` connections to one database. One ``transaction()`` is one unit of work."""

    def __init__(self, url: SecretStr, *, pool_size: int = 20, statement_seconds: int = STATEMENT_SECONDS) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.get_secret_value(),
            pool_size=pool_size,
            # A connection beyond the pool is closed after each use. To open one costs more than to use one, so that a
            # moment's rush would slow every request, and the queue of slow requests would keep the rush going.
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_use_lifo=True,  # those with warm caches first
            connect_args={
                "timeout": CONNECT_SECONDS,
                "command_timeout": statement_seconds * 2,
                "server_settings": {
                    "application_name": "lakemill",
                    "statement_timeout": str(statement_seconds * 1000),
                    "idle_in_transaction_session_timeout": "60000",
                    "timezone": "UTC",
                    # An idle connection must not be forgotten by what lies between us and the server.
                    "tcp_keepalives_idle": "30",
                },
            },
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_lost)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction that commits at the end and rolls back on any error.

        Raises DatabaseUnavailableError when the server cannot be reached or breaks off.
        """
        with _answering():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection whose every statement stands alone: two round trips less than a transaction.

        Raises DatabaseUnavailableError when the server cannot be reached or breaks off.
        """
        with _answering():
            async with self._autocommit.connect() as connection:
                yield connection

    @asynccontextmanager
    async def exclusive(self, lock: int) -> AsyncIterator[bool]:
        """Try to hold the advisory lock ``lock`` for the block; yields whether this process holds it.

        The lock belongs to a connection of its own, not to a transaction, so that nothing is left open while the block
        waits for Kafka. A dead process loses it with its connection. Raises DatabaseUnavailableError.
        """
        with _answering():
            connection = await self._autocommit.connect()
        try:
            with _answering():
                held = bool(await connection.scalar(select(func.pg_try_advisory_lock(lock))))
            try:
                yield held
            finally:
                if held:
                    with _answering():
                        await connection.scalar(select(func.pg_advisory_unlock(lock)))
        finally:
            await connection.close()

    async def ping(self) -> None:
        """Return when the server answers. Raises DatabaseUnavailableError."""
        async with self.reading() as connection:
            await connection.scalar(select(1))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _refuse_lost(connection: Any, _record: object, _lent: object) -> None:
    """Let the pool replace a connection that the server has ended since it was last used.

    The driver knows without asking. ``pool_pre_ping`` would ask, for three round trips each time.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def _answering() -> Iterator[None]:
    """Translate what says "not now" into DatabaseUnavailableError; let errors of the statement itself pass."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError, TimeoutError) as error:
        raise DatabaseUnavailableError(f"the database does not answer ({type(error).__name__})") from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        # Errors while connecting arrive as asyncpg's own.
        origin = error.orig if isinstance(error, DBAPIError) else error
        sqlstate = str(getattr(origin, "sqlstate", None) or "")
        if sqlstate.startswith(_NOT_NOW) or (isinstance(error, DBAPIError) and error.connection_invalidated):
            raise DatabaseUnavailableError(f"the database does not serve this now ({sqlstate})") from error
        raise
