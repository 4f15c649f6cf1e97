"""What became of an ended backfill is kept: nothing changes it any more, and counting it again takes ever longer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("backfills", sa.Column("ended", JSONB))
    which = sa.text("ended IS NULL AND state IN ('expanded', 'cancelled')")
    op.create_index("ix_backfills_uncounted", "backfills", ["updated_at"], postgresql_where=which)
