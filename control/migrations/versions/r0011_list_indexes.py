"""Lists that match little are found at once, whatever a tenant has; what is old is found without a walk."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the indexes."""
    for column in ("state", "action", "data_version"):
        op.create_index(f"ix_processes_tenant_id_{column}_id", "processes", ["tenant_id", column, "id"])
    of_backfill = sa.text("backfill_id IS NOT NULL")
    op.create_index("ix_processes_backfill_id_id", "processes", ["backfill_id", "id"], postgresql_where=of_backfill)
    op.create_index("ix_snapshots_data_version", "snapshots", ["data_version", "entity_id", "dataset"])
    op.create_index("ix_snapshots_dataset", "snapshots", ["dataset", "entity_id", "data_version"])
    op.create_index("ix_entities_tenant_id_entity_id", "entities", ["tenant_id", "entity_id"])
    op.drop_index("ix_entities_tenant_id", "entities")
    shared = sa.text("shared_with <> '[]'::jsonb")
    op.create_index(
        "ix_entities_shared_with", "entities", ["shared_with"], postgresql_using="gin", postgresql_where=shared
    )
    op.create_index("ix_log_gaps_created_at", "log_gaps", ["created_at"])
