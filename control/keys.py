"""API keys: ``lm_{prefix}_{secret}``. Only SHA-256 of the secret is stored; the whole key is shown once."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr
from sqlalchemy import RowMapping, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.problems import LakemillError
from contracts.tenancy import Scope
from control.tables import api_keys, tenants

_KEY = re.compile(r"lm_(?P<prefix>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})\Z")
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a valid key speaks for."""

    tenant: str
    prefix: str
    scopes: frozenset[Scope]


class UnknownTenantError(LakemillError):
    """No such tenant. Run the migrations: they create the tenant 'default'."""


async def create(
    conn: AsyncConnection, tenant: str, scopes: Sequence[Scope], expires_in: timedelta | None = None
) -> SecretStr:
    """Store a new key and return it whole, for the only time. Raises UnknownTenantError."""
    if await conn.scalar(select(tenants.c.id).where(tenants.c.id == tenant)) is None:
        raise UnknownTenantError(f"there is no tenant {tenant!r}; run 'python -m control.migrate' first")
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    await conn.execute(
        insert(api_keys).values(
            prefix=prefix,
            tenant_id=tenant,
            secret_sha256=_digest(secret),
            scopes=sorted(scope.value for scope in set(scopes)),
            expires_at=None if expires_in is None else func.now() + expires_in,
        )
    )
    return SecretStr(f"lm_{prefix}_{secret}")


async def listing(conn: AsyncConnection) -> Sequence[RowMapping]:
    """Return all keys without their digests, oldest first."""
    columns = [column for column in api_keys.c if column is not api_keys.c.secret_sha256]
    return (await conn.execute(select(*columns).order_by(api_keys.c.created_at))).mappings().all()


async def revoke(conn: AsyncConnection, prefix: str) -> bool:
    """Make a key useless from now on; returns False when there is no such key. Revoking twice is no error."""
    changed = update(api_keys).where(api_keys.c.prefix == prefix)
    return (
        await conn.execute(changed.values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now())))
    ).rowcount > 0


async def caller_of(conn: AsyncConnection, key: str) -> Caller | None:
    """Return who ``key`` speaks for; None for a malformed, unknown, revoked or expired one, all in the same way."""
    found = _KEY.match(key)
    prefix, secret = (found["prefix"], found["secret"]) if found else ("", "")
    query = select(api_keys).where(
        api_keys.c.prefix == prefix,
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    # The same work for an unknown key, so that time does not tell which prefixes exist.
    is_genuine = hmac.compare_digest(_digest(secret), row["secret_sha256"] if row else _NO_DIGEST)
    if row is None or not is_genuine:
        return None
    return Caller(row["tenant_id"], prefix, frozenset(Scope(scope) for scope in row["scopes"]))


async def webhook_secret(conn: AsyncConnection, tenant: str) -> SecretStr:
    """Return the secret that signs the tenant's callbacks (``whsec_…``). Raises UnknownTenantError."""
    secret = await conn.scalar(select(tenants.c.webhook_secret).where(tenants.c.id == tenant))
    if secret is None:
        raise UnknownTenantError(f"there is no tenant {tenant!r}; run 'python -m control.migrate' first")
    return SecretStr(secret)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
