"""Indexes for the release: what is in flight, and what waits in its order, however long the backlog."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

IN_FLIGHT = "released_at IS NOT NULL AND state IN ('accepted', 'queued', 'running')"
WAITING = "released_at IS NULL AND state = 'accepted'"


def upgrade() -> None:
    """Create both."""
    op.create_index("ix_processes_in_flight", "processes", ["tenant_id"], postgresql_where=sa.text(IN_FLIGHT))
    order: list[str | sa.TextClause] = ["tenant_id", sa.text("priority DESC"), "created_at", "id"]
    op.create_index("ix_processes_ready", "processes", order, postgresql_where=sa.text(WAITING))
