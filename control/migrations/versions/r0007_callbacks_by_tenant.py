"""What is due to be called back is looked for tenant by tenant."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Replace the index."""
    waits = sa.text("state = 'pending'")
    op.create_index("ix_deliveries_waiting", "deliveries", ["tenant_id", "next_try_at"], postgresql_where=waits)
    op.drop_index("ix_deliveries_due", "deliveries")
