"""Dead letters keep their headers, and when they were redriven; they are listed by age."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add them."""
    op.add_column("dead_letters", sa.Column("headers", JSONB, nullable=False, server_default="[]"))
    op.add_column("dead_letters", sa.Column("redriven_at", sa.DateTime(timezone=True)))
    op.create_index("ix_dead_letters_created_at", "dead_letters", ["created_at"])
