"""The database's accidents arrive as one error that says "try again"; mistakes in a statement do not."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

from resources.database import Database, DatabaseUnavailableError

pytestmark = pytest.mark.anyio
LOCK = 77


async def test_a_statement_that_takes_too_long_is_unavailability(database_url: SecretStr) -> None:
    db = Database(database_url, statement_seconds=1)
    with pytest.raises(DatabaseUnavailableError):
        async with db.transaction() as conn:
            await conn.execute(select(func.pg_sleep(5)))
    await db.ping()
    await db.close()


async def test_a_connection_that_the_server_ends_is_unavailability(db: Database) -> None:
    with pytest.raises(DatabaseUnavailableError):
        async with db.transaction() as conn:
            await conn.execute(text("select pg_terminate_backend(pg_backend_pid())"))
    await db.ping()


async def test_connections_that_the_server_has_ended_meanwhile_are_replaced(
    db: Database, database_url: SecretStr
) -> None:
    async def hold() -> None:
        async with db.reading() as conn:
            await conn.execute(select(func.pg_sleep(0.1)))

    await asyncio.gather(*(hold() for _ in range(5)))
    other = Database(database_url, pool_size=2)
    ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
    async with other.reading() as conn:
        count = len((await conn.execute(text(f"{ended} and pid != pg_backend_pid()"))).all())
    await other.close()
    assert count == 5
    await asyncio.gather(*(hold() for _ in range(5)))


async def test_a_rush_neither_opens_connections_beyond_the_pool_nor_closes_any(database_url: SecretStr) -> None:
    size = 4
    db = Database(database_url, pool_size=size)

    async def used_by(requests: int) -> set[int]:
        async def request() -> int:
            async with db.reading() as conn:
                return int(
                    await conn.scalar(select(func.pg_backend_pid()).where(func.pg_sleep(0.01).is_not(None))) or 0
                )

        return set(await asyncio.gather(*(request() for _ in range(requests))))

    first = await used_by(10 * size)
    assert len(first) == size
    assert await used_by(10 * size) == first
    await db.close()


async def test_a_server_that_is_not_there_is_unavailability() -> None:
    db = Database(SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    with pytest.raises(DatabaseUnavailableError):
        await db.ping()
    with pytest.raises(DatabaseUnavailableError):
        async with db.exclusive(LOCK):
            pass
    await db.close()


async def test_a_wrong_statement_stays_what_it_is(db: Database) -> None:
    with pytest.raises(ProgrammingError):
        async with db.transaction() as conn:
            await conn.execute(text("select nonsense"))


async def test_one_holder_at_a_time_and_the_lock_is_free_afterwards(db: Database) -> None:
    async with db.exclusive(LOCK) as first, db.exclusive(LOCK) as second:
        assert (first, second) == (True, False)
    async with db.exclusive(LOCK) as third:
        assert third


async def test_a_holder_that_loses_its_connection_loses_the_lock(db: Database) -> None:
    async def hold() -> None:
        async with db.exclusive(LOCK), db.transaction() as conn:
            await conn.execute(
                text(
                    "select pg_terminate_backend(pid, 5000) from pg_locks where locktype = 'advisory' and objid = :lock"
                ),
                {"lock": LOCK},
            )

    with pytest.raises(DatabaseUnavailableError):
        await hold()
    async with asyncio.timeout(5), db.exclusive(LOCK) as held:
        assert held
