"""What a process needed that ran out of memory first is found among the runs of a fleet."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_AGAIN = "state = 'succeeded' AND attempt > 1"


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_processes_succeeded_again",
        "processes",
        ["tenant_id", "action", "finished_at"],
        postgresql_where=sa.text(_AGAIN),
    )
