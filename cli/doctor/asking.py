"""How PostgreSQL is asked: one connection, one transaction, one answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from cli.doctor.site import Site
from contracts.problems import LakemillError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_Answer = TypeVar("_Answer")


class PostgresError(LakemillError):
    """PostgreSQL refuses us, or a question."""


async def scalar(conn: "AsyncConnection", query: str) -> Any:
    """Return the first value of the answer."""
    from sqlalchemy import text

    return await conn.scalar(text(query))


async def column(conn: "AsyncConnection", query: str, **values: str) -> list[str]:
    """Return the first column of the answer."""
    from sqlalchemy import text

    return [str(row[0]) for row in await conn.execute(text(query), values)]


def ask(site: Site, url: SecretStr, question: "Callable[[AsyncConnection], Awaitable[_Answer]]") -> _Answer:
    """Return the answer of one transaction. Raises DatabaseUnavailableError, PostgresError."""
    site.once(f"postgres {url.get_secret_value()}", lambda: _answered(url, _ping))
    return _answered(url, question)


async def _ping(conn: "AsyncConnection") -> None:
    await scalar(conn, "SELECT 1")


def _answered(url: SecretStr, question: "Callable[[AsyncConnection], Awaitable[_Answer]]") -> _Answer:
    import asyncpg
    from sqlalchemy.exc import SQLAlchemyError

    from resources.database import Database

    async def answer() -> _Answer:
        db = Database(url, pool_size=2)
        try:
            async with db.transaction() as conn:
                return await question(conn)
        finally:
            await db.close()

    try:
        return asyncio.run(answer())
    except (SQLAlchemyError, asyncpg.PostgresError) as error:
        raise PostgresError(f"PostgreSQL refuses: {getattr(error, 'orig', None) or error}") from error
