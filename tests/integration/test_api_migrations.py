"""The migrations: what they make is what ``control/tables.py`` says, and two at once are one."""

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection, select

from contracts.tenancy import DEFAULT_TENANT
from control.backfills import tables as backfill_tables  # noqa: F401 - they declare their tables when imported
from control.log import tables as log_tables  # noqa: F401
from control.migrate import migrate
from control.recovery import tables as recovery_tables  # noqa: F401
from control.schema import metadata
from control.tables import tenants
from control.tenancy import tables as tenancy_tables  # noqa: F401
from resources.database import Database

pytestmark = pytest.mark.anyio


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_make_exactly_the_tables(db: Database) -> None:
    async with db.transaction() as conn:
        assert await conn.run_sync(_differences) == []


async def test_two_migrations_at_once_end_as_one(empty_database_url: SecretStr) -> None:
    databases = [Database(empty_database_url) for _ in range(3)]
    await asyncio.gather(*(migrate(database) for database in databases))
    async with databases[0].transaction() as conn:
        rows = (await conn.execute(select(tenants))).mappings().all()
    for database in databases:
        await database.close()
    assert [row["id"] for row in rows] == [DEFAULT_TENANT]
    assert rows[0]["webhook_secret"].startswith("whsec_")


async def test_migrating_again_keeps_the_webhook_secret(db: Database) -> None:
    async with db.transaction() as conn:
        before = await conn.scalar(select(tenants.c.webhook_secret))
    await migrate(db)
    async with db.transaction() as conn:
        assert await conn.scalar(select(tenants.c.webhook_secret)) == before
