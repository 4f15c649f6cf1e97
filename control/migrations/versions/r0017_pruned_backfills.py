"""What became of a backfill's processes is kept when they are removed before the last one has ended."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column."""
    op.add_column("backfills", sa.Column("pruned", JSONB, nullable=False, server_default="{}"))
