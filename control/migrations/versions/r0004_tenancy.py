"""Tenants: their entities, their limits, and a log of what administrators did."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

_CORES = """
    UPDATE processes SET cores = (profile -> 'granted' ->> 'driver_cores')::int
        + (profile -> 'granted' ->> 'executor_instances')::int * (profile -> 'granted' ->> 'executor_cores')::int
    WHERE state IN ('accepted', 'queued', 'running')
"""
_OWNERS = """
    INSERT INTO entities (entity_id, tenant_id)
    SELECT DISTINCT ON (entity_id) entity_id, tenant_id
    FROM (SELECT entity_id, tenant_id, created_at FROM processes
          UNION ALL
          SELECT entity_id, tenant_id, committed_at FROM snapshots WHERE tenant_id IN (SELECT id FROM tenants)) past
    ORDER BY entity_id, created_at
"""


def upgrade() -> None:
    """Create them; an entity that somebody has asked for before is that tenant's."""
    op.add_column("tenants", sa.Column("entity_pattern", sa.Text, nullable=False, server_default="*"))
    op.add_column("tenants", sa.Column("limits", JSONB, nullable=False, server_default="{}"))
    op.create_table(
        "entities",
        sa.Column("entity_id", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("shared_with", JSONB, nullable=False, server_default="[]"),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("entity_id", name="pk_entities"),
    )
    op.create_index("ix_entities_tenant_id", "entities", ["tenant_id"])
    op.execute(_OWNERS)
    op.create_table(
        "admin_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text),
        sa.Column("detail", JSONB, nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("id", name="pk_admin_log"),
    )
    # With a default, for the older version accepts until it is replaced. Only what is under way counts for limits.
    op.add_column("processes", sa.Column("cores", sa.Integer, nullable=False, server_default="1"))
    op.execute(_CORES)
