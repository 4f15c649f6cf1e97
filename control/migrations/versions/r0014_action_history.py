"""What the newest successful runs of an action used is found at once: the next one's profile is chosen by it."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the index."""
    succeeded = sa.text("state = 'succeeded'")
    columns = ["tenant_id", "action", "finished_at"]
    op.create_index("ix_processes_succeeded", "processes", columns, postgresql_where=succeeded)
