"""How long a key was made for is kept: rotating it shortens its own life, and must not shorten that of what follows."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the column."""
    op.add_column("api_keys", sa.Column("life", sa.Interval))
    op.execute("UPDATE api_keys SET life = expires_at - created_at")
