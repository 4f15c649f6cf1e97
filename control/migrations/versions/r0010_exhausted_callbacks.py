"""Exhausted callbacks are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the index."""
    which = sa.text("state = 'exhausted'")
    op.create_index("ix_deliveries_exhausted", "deliveries", ["created_at"], postgresql_where=which)
