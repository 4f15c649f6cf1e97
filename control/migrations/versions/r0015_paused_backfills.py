"""A release reads nothing of what waits for a paused backfill: what waits is ordered within each backfill."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

WAITING = "released_at IS NULL AND state = 'accepted'"


def upgrade() -> None:
    """Begin the index of what waits with the backfill, and add one of the backfills that are not paused."""
    op.drop_index("ix_processes_ready", "processes")
    order: list[str | sa.TextClause] = ["tenant_id", "backfill_id", sa.text("priority DESC"), "created_at", "id"]
    op.create_index("ix_processes_ready", "processes", order, postgresql_where=sa.text(WAITING))
    released = sa.text("ended IS NULL AND state <> 'paused'")
    op.create_index("ix_backfills_released", "backfills", ["tenant_id"], postgresql_where=released)
