"""The log of what was done about tenants, keys, entities, backfills, snapshots and actions, by whom."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from control.tenancy.tables import admin_log


async def note_admin(
    conn: AsyncConnection, actor: str, kind: str, tenant_id: str | None, detail: Mapping[str, Any] | None = None
) -> None:
    """Append one line. ``tenant_id`` is None for what is nobody's alone."""
    await conn.execute(insert(admin_log).values(actor=actor, kind=kind, tenant_id=tenant_id, detail=dict(detail or {})))


async def newest(conn: AsyncConnection, count: int) -> Sequence[RowMapping]:
    """Return the newest ``count`` lines."""
    return (await conn.execute(select(admin_log).order_by(admin_log.c.id.desc()).limit(count))).mappings().all()
