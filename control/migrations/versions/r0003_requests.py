"""A process may repeat an ended one, have more than one who wants to hear of it, and end before its run."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add all three, and what finds what is old."""
    op.add_column("processes", sa.Column("retry_of", sa.Uuid))
    op.create_table(
        "subscribers",
        sa.Column("process_id", sa.Uuid, sa.ForeignKey("processes.id"), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("process_id", "url", name="pk_subscribers"),
    )
    ended = sa.text("finished_at IS NOT NULL")
    op.create_index("ix_processes_finished_at", "processes", ["finished_at"], postgresql_where=ended)
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
