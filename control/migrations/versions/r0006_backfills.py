"""Backfills: one action at one data version for many entities."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "backfills",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("request", JSON(none_as_null=True), nullable=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("entities", sa.Integer, nullable=False),
        sa.Column("looked_at", sa.Integer, nullable=False, server_default="0"),
        sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
        sa.Column("refused", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_refusal", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("id", name="pk_backfills"),
    )
    op.create_index("ix_backfills_tenant_id_created_at", "backfills", ["tenant_id", "created_at"])
    at_work = sa.text("state IN ('expanding', 'cancelling')")
    op.create_index("ix_backfills_at_work", "backfills", ["updated_at"], postgresql_where=at_work)
    op.create_table(
        "backfill_entities",
        sa.Column("backfill_id", sa.Uuid, sa.ForeignKey("backfills.id"), nullable=False),
        sa.Column("entity_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("backfill_id", "entity_id", name="pk_backfill_entities"),
    )
    op.add_column("processes", sa.Column("backfill_id", sa.Uuid))
    of_backfill = sa.text("backfill_id IS NOT NULL")
    name = "ix_processes_backfill_id_state"
    op.create_index(name, "processes", ["backfill_id", "state"], postgresql_where=of_backfill)
