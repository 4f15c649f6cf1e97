"""What is due to be called back is looked for host by host: what waits for a dead one is not read again and again."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

HOST = "lower(split_part(split_part(url, '/', 3), '?', 1))"


def upgrade() -> None:
    """Replace the index. A worker of the version before finds the same, only more slowly."""
    waits = sa.text("state = 'pending'")
    of_host = sa.text(HOST)
    op.create_index(
        "ix_deliveries_by_host", "deliveries", ["tenant_id", of_host, "next_try_at"], postgresql_where=waits
    )
    op.drop_index("ix_deliveries_waiting", "deliveries")
