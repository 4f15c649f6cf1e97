"""What is kept of a backfill: what it asks for, at which entities still, and what became of the others."""

import sqlalchemy as sa

from contracts.backfills import BackfillState
from control.schema import JSONB, VERBATIM, metadata, now

AT_WORK_SQL = sa.text(f"state IN ('{BackfillState.EXPANDING}', '{BackfillState.CANCELLING}')")
UNCOUNTED_SQL = sa.text(f"ended IS NULL AND state IN ('{BackfillState.EXPANDED}', '{BackfillState.CANCELLED}')")
RELEASED_SQL = sa.text(f"ended IS NULL AND state <> '{BackfillState.PAUSED}'")
"""What may have processes that wait for their release, and does not keep them."""

backfills = sa.Table(
    "backfills",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # UUIDv7, or the requester's own
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("request", VERBATIM, nullable=False),  # contracts.backfills.BackfillRequest, without its entities
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("entities", sa.Integer, nullable=False),
    sa.Column("looked_at", sa.Integer, nullable=False, server_default="0"),
    sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
    sa.Column("refused", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_refusal", sa.Text),
    sa.Column("ended", JSONB),  # state → how many of its processes ended so; kept once all have (counts.keep_counts)
    # state → how many that ended so retention has removed since; no more once ``ended`` is kept (counts.keep_pruned)
    sa.Column("pruned", JSONB, nullable=False, server_default="{}"),
    now("created_at"),
    now("updated_at"),
    sa.Index("ix_backfills_tenant_id_created_at", "tenant_id", "created_at"),
    sa.Index("ix_backfills_at_work", "updated_at", postgresql_where=AT_WORK_SQL),
    sa.Index("ix_backfills_uncounted", "updated_at", postgresql_where=UNCOUNTED_SQL),
    sa.Index("ix_backfills_released", "tenant_id", postgresql_where=RELEASED_SQL),
)

backfill_entities = sa.Table(
    "backfill_entities",
    metadata,
    # No foreign key: to check it for each of 100,000 rows took three times as long as to write them.
    sa.Column("backfill_id", sa.Uuid, primary_key=True),
    sa.Column("entity_id", sa.Text, primary_key=True),
)
"""The entities as they were when the backfill was asked for; a row goes when it was looked at."""
