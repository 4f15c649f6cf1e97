"""API keys: ``lm_{prefix}_{secret}``. Only SHA-256 of the secret is stored; the whole key is shown once."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr
from sqlalchemy import RowMapping, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.problems import LakemillError
from contracts.tenancy import Scope, Tenant, TenantLimits
from control.tables import tenants
from control.tenancy.admin_log import note_admin
from control.tenancy.tables import api_keys

_KEY = re.compile(r"lm_(?P<prefix>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})\Z")
_NO_DIGEST = bytes(32)
_IS_VALID = and_(
    api_keys.c.revoked_at.is_(None), or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())
)
# Asked by every call, so built once: what SQLAlchemy does for a new statement takes longer than the answer.
_CALLER = (
    select(
        api_keys.c.tenant_id, api_keys.c.secret_sha256, api_keys.c.scopes, tenants.c.entity_pattern, tenants.c.limits
    )
    .join(tenants)
    .where(api_keys.c.prefix == bindparam("prefix"), _IS_VALID)
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a valid key speaks for."""

    tenant: Tenant
    prefix: str
    scopes: frozenset[Scope]

    @property
    def tenant_id(self) -> str:
        """The tenant's id."""
        return self.tenant.id

    @property
    def actor(self) -> str:
        """Who did it, for events and the admin log: the tenant and its key, which the prefix names."""
        return f"tenant:{self.tenant_id}/key:{self.prefix}"


class UnknownTenantError(LakemillError):
    """No such tenant. Correct its name, or make it."""


class UnknownKeyError(LakemillError):
    """No such key, or it is of no use any more."""


def unknown_tenant(tenant_id: str) -> UnknownTenantError:
    """Return the refusal of a tenant that is not there."""
    remedy = "'lakemill tenants ls' shows them, 'lakemill tenants create' makes one"
    return UnknownTenantError(f"there is no tenant {tenant_id!r}; {remedy}")


async def create(
    conn: AsyncConnection,
    tenant_id: str,
    scopes: Sequence[Scope],
    expires_in: timedelta | None = None,
    *,
    actor: str = "system",
) -> SecretStr:
    """Store a new key and return it whole, for the only time. Raises UnknownTenantError."""
    if await conn.scalar(select(tenants.c.id).where(tenants.c.id == tenant_id)) is None:
        raise unknown_tenant(tenant_id)
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    await conn.execute(
        insert(api_keys).values(
            prefix=prefix,
            tenant_id=tenant_id,
            secret_sha256=_digest(secret),
            scopes=sorted(scope.value for scope in set(scopes)),
            expires_at=None if expires_in is None else func.now() + expires_in,
            life=expires_in,
        )
    )
    told = {"prefix": prefix, "scopes": sorted(scope.value for scope in set(scopes))}
    await note_admin(conn, actor, "key_created", tenant_id, told)
    return SecretStr(f"lm_{prefix}_{secret}")


async def listing(conn: AsyncConnection) -> Sequence[RowMapping]:
    """Return all keys without their digests, oldest first."""
    columns = [column for column in api_keys.c if column is not api_keys.c.secret_sha256]
    return (await conn.execute(select(*columns).order_by(api_keys.c.created_at))).mappings().all()


async def revoke(conn: AsyncConnection, prefix: str, *, actor: str = "system") -> None:
    """Make a key useless from now on. Revoking twice is no error. Raises UnknownKeyError."""
    changed = update(api_keys).where(api_keys.c.prefix == prefix)
    revoked = changed.values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
    tenant_id = await conn.scalar(revoked.returning(api_keys.c.tenant_id))
    if tenant_id is None:
        raise UnknownKeyError(f"there is no key {prefix!r}; 'lakemill keys ls' shows them")
    await note_admin(conn, actor, "key_revoked", tenant_id, {"prefix": prefix})


async def rotate(conn: AsyncConnection, prefix: str, overlap: timedelta, *, actor: str = "system") -> SecretStr:
    """Return a new key with an old one's tenant, scopes and life.

    The old one expires after ``overlap``, or when it would have. Raises UnknownKeyError for a key that is not there or
    is of no use any more.
    """
    query = select(api_keys).where(api_keys.c.prefix == prefix, _IS_VALID).with_for_update()
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        raise UnknownKeyError(f"there is no valid key {prefix!r}; 'lakemill keys ls' shows them")
    ends = func.least(func.coalesce(api_keys.c.expires_at, func.now() + overlap), func.now() + overlap)
    await conn.execute(update(api_keys).where(api_keys.c.prefix == prefix).values(expires_at=ends))
    told = {"prefix": prefix, "overlap_seconds": round(overlap.total_seconds())}
    await note_admin(conn, actor, "key_rotated", row["tenant_id"], told)
    # It lives as long as the old one was made for, from now on.
    return await create(conn, row["tenant_id"], sorted(_scopes(row)), row["life"], actor=actor)


async def caller_of(conn: AsyncConnection, key: str) -> Caller | None:
    """Return who ``key`` speaks for; None for a malformed, unknown, revoked or expired one, all in the same way."""
    found = _KEY.match(key)
    prefix, secret = (found["prefix"], found["secret"]) if found else ("", "")
    row = (await conn.execute(_CALLER, {"prefix": prefix})).mappings().one_or_none()
    # The same work for an unknown key, so that time does not tell which prefixes exist.
    is_genuine = hmac.compare_digest(_digest(secret), row["secret_sha256"] if row else _NO_DIGEST)
    if row is None or not is_genuine:
        return None
    return Caller(tenant_of(row), prefix, _scopes(row))


def tenant_of(row: RowMapping) -> Tenant:
    """Return the tenant of a row with ``tenant_id``, ``entity_pattern`` and ``limits``."""
    limits = TenantLimits.model_validate(row["limits"])
    return Tenant(id=row["tenant_id"], entity_pattern=row["entity_pattern"], limits=limits)


def _scopes(row: RowMapping) -> frozenset[Scope]:
    # An older key may name one that is no more.
    return frozenset(scope for scope in Scope if scope.value in row["scopes"])


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
