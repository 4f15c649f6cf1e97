"""A tenant's callbacks may be signed with older secrets too, while its receivers change over."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""
    op.add_column("tenants", sa.Column("older_webhook_secrets", JSONB, nullable=False, server_default="[]"))
