"""Whether the control plane is being rebuilt after a restore of its database."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "recovery",
        sa.Column("id", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("actor", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recovery"),
    )
