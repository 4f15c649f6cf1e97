"""What the control plane keeps of the log: how far it was read, what it lost, what could not be taken in."""

import sqlalchemy as sa

from control.schema import JSONB, metadata, moment, now

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("topic_id", sa.Text, primary_key=True),
    sa.Column("log_partition", sa.Integer, primary_key=True),
    sa.Column("log_offset", sa.BigInteger, primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("value", sa.LargeBinary),
    sa.Column("headers", JSONB, nullable=False, server_default="[]"),  # contracts.intake.LogHeader, in their order
    now("created_at"),
    moment("redriven_at"),
    sa.Index("ix_dead_letters_created_at", "created_at"),
)

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("log_partition", sa.Integer, primary_key=True),
    sa.Column("topic_id", sa.Text, nullable=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    now("seen_at"),
)
"""The cursor Dagster had durably stored when the sensor last called: everything before it has been handed over."""

log_gaps = sa.Table(
    "log_gaps",
    metadata,
    sa.Column("topic_id", sa.Text, primary_key=True),
    sa.Column("log_partition", sa.Integer, primary_key=True),
    sa.Column("expected_offset", sa.BigInteger, primary_key=True),
    sa.Column("found_offset", sa.BigInteger, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    now("created_at"),
    sa.Index("ix_log_gaps_created_at", "created_at"),
)
"""Records the log dropped before they were read; the reconciler drives their processes again."""
