"""The keys of tenants, and the log of what administrators did."""

import sqlalchemy as sa

from control.schema import JSONB, metadata, moment, now

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("prefix", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("secret_sha256", sa.LargeBinary, nullable=False),
    sa.Column("scopes", JSONB, nullable=False),
    now("created_at"),
    moment("expires_at"),
    moment("revoked_at"),
    sa.Column("life", sa.Interval),  # for how long it was made, whatever a rotation has left of that
)

admin_log = sa.Table(
    "admin_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    now("at"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("tenant_id", sa.Text),
    sa.Column("detail", JSONB, nullable=False, server_default="{}"),
)
"""Append-only: what was done about tenants, keys, entities, backfills, snapshots and actions, and by whom."""
