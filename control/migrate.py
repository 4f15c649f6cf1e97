"""Bring the control plane's database to the newest step: ``python -m control.migrate``.

Everything happens in one transaction under an advisory lock: two at once are safe, and a failed step changes nothing.
"""

import asyncio
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tenancy import DEFAULT_TENANT
from control.tables import tenants
from control.tenancy.webhook_secrets import new_secret
from resources.database import Database
from resources.settings import control_settings
from resources.structured_logs import log_as_json

log = structlog.get_logger(__name__)

MIGRATION_LOCK = 0x6C616B65_00000001
_STATEMENT_SECONDS = 600


async def migrate(db: Database) -> None:
    """Apply the missing steps and make sure that the default tenant exists. Safe to run again, and twice at once."""
    async with db.transaction() as conn:
        await conn.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        await conn.run_sync(_upgrade)
        await _ensure_tenant(conn, DEFAULT_TENANT)


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for a connection that somebody else opens and commits."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")


async def _ensure_tenant(conn: AsyncConnection, tenant_id: str) -> None:
    row = upsert(tenants).values(id=tenant_id, webhook_secret=new_secret())
    await conn.execute(row.on_conflict_do_nothing())


async def _main() -> None:
    db = Database(control_settings().database_url, statement_seconds=_STATEMENT_SECONDS)
    try:
        await migrate(db)
    finally:
        await db.close()
    log.info("database.migrated")


if __name__ == "__main__":
    log_as_json()
    asyncio.run(_main())
