"""The secrets that sign a tenant's callbacks (Standard Webhooks): the newest, and older ones for a while."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.tables import tenants
from control.tenancy.admin_log import note_admin
from control.tenancy.keys import unknown_tenant

MAX_ACTIVE = 4
"""Signatures on one callback, at most: receivers try each."""


def new_secret() -> str:
    """Return a fresh secret: ``whsec_`` and 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def active(newest: str, older: Sequence[Mapping[str, str]], at: datetime) -> list[str]:
    """Return what signs at the aware moment ``at``, the newest first."""
    return [newest, *(each["secret"] for each in older if datetime.fromisoformat(each["until"]) > at)][:MAX_ACTIVE]


async def newest_of(conn: AsyncConnection, tenant_id: str) -> SecretStr:
    """Return the tenant's newest secret. Raises UnknownTenantError."""
    secret = await conn.scalar(select(tenants.c.webhook_secret).where(tenants.c.id == tenant_id))
    if secret is None:
        raise unknown_tenant(tenant_id)
    return SecretStr(secret)


async def rotate(conn: AsyncConnection, tenant_id: str, overlap: timedelta, *, actor: str = "system") -> SecretStr:
    """Return a new secret; callbacks are signed with the one before it too until ``overlap`` is over.

    Raises UnknownTenantError.
    """
    query = select(tenants.c.webhook_secret, tenants.c.older_webhook_secrets).where(tenants.c.id == tenant_id)
    row = (await conn.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise unknown_tenant(tenant_id)
    now = datetime.now(UTC)
    older = [each for each in row.older_webhook_secrets if datetime.fromisoformat(each["until"]) > now]
    older.insert(0, {"secret": row.webhook_secret, "until": (now + overlap).isoformat()})
    made = new_secret()
    change = {"webhook_secret": made, "older_webhook_secrets": older[: MAX_ACTIVE - 1]}
    await conn.execute(update(tenants).where(tenants.c.id == tenant_id).values(change))
    told = {"overlap_seconds": round(overlap.total_seconds())}
    await note_admin(conn, actor, "webhook_secret_rotated", tenant_id, told)
    return SecretStr(made)
