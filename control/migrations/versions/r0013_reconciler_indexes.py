"""The reconciler finds what has begun, and what ran out of time while it waited, however long the backlog is."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

BACKLOG = "state = 'accepted' AND released_at IS NULL AND attempt = 1 AND ending IS NULL"
BEGUN = (
    "state IN ('accepted', 'queued', 'running') "
    "AND (state <> 'accepted' OR released_at IS NOT NULL OR attempt > 1 OR ending IS NOT NULL)"
)


def upgrade() -> None:
    """Replace the index of all that has not ended by two."""
    op.create_index("ix_processes_begun", "processes", ["updated_at", "id"], postgresql_where=sa.text(BEGUN))
    op.create_index("ix_processes_backlog", "processes", ["deadline_at"], postgresql_where=sa.text(BACKLOG))
    op.drop_index("ix_processes_active", "processes")
