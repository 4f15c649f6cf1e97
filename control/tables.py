"""The control plane's tables: metadata, state and history only; nothing analytical is ever stored here.

The migrations under ``control/migrations`` make them; a test compares both.
"""

import sqlalchemy as sa

from contracts.states import ACTIVE
from control.schema import JSONB, VERBATIM, metadata, moment, now

ACTIVE_SQL = sa.text("state IN ({})".format(", ".join(f"'{state.value}'" for state in sorted(ACTIVE))))
_COORDINATE = ("entity_id", "data_version", "dataset")
_RELEASE_ORDER = (sa.text("priority DESC"), "created_at", "id")
# A first attempt that waits, and all else that has not ended: in such words that PostgreSQL sees which index will do.
BACKLOG_SQL = sa.text("state = 'accepted' AND released_at IS NULL AND attempt = 1 AND ending IS NULL")
BEGUN_SQL = sa.text(
    f"{ACTIVE_SQL} AND (state <> 'accepted' OR released_at IS NOT NULL OR attempt > 1 OR ending IS NOT NULL)"
)
IN_FLIGHT_SQL = sa.text(f"released_at IS NOT NULL AND {ACTIVE_SQL}")
SUCCEEDED_SQL = sa.text("state = 'succeeded'")
AGAIN_SQL = sa.text(f"{SUCCEEDED_SQL} AND attempt > 1")
_OF_BACKFILL_SQL = sa.text("backfill_id IS NOT NULL")
PENDING_SQL = sa.text("state = 'pending'")
EXHAUSTED_SQL = sa.text("state = 'exhausted'")
SHARED_SQL = sa.text("shared_with <> '[]'::jsonb")
WAITING_SQL = sa.text("released_at IS NULL AND state = 'accepted'")

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("webhook_secret", sa.Text, nullable=False),  # whsec_…: symmetric by the Standard Webhooks specification
    # Those before it sign too until their time is over: [{"secret": whsec_…, "until": a moment}, …]
    sa.Column("older_webhook_secrets", JSONB, nullable=False, server_default="[]"),
    sa.Column("entity_pattern", sa.Text, nullable=False, server_default="*"),
    sa.Column("limits", JSONB, nullable=False, server_default="{}"),  # contracts.tenancy.TenantLimits
    now("created_at"),
)

entities = sa.Table(
    "entities",
    metadata,
    sa.Column("entity_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("shared_with", JSONB, nullable=False, server_default="[]"),  # tenants that may read it, or "*"
    now("claimed_at"),
    sa.Index("ix_entities_tenant_id_entity_id", "tenant_id", "entity_id"),
    sa.Index("ix_entities_shared_with", "shared_with", postgresql_using="gin", postgresql_where=SHARED_SQL),
)
"""Whose an entity is: of the tenant that asked for something at it first."""

actions = sa.Table(
    "actions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("entry", JSONB, nullable=False),  # contracts.reports.ActionEntry
    sa.Column("is_published", sa.SmallInteger, nullable=False, server_default="1"),  # 0 once withdrawn
    now("published_at"),  # or withdrawn
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("profile", JSONB, nullable=False),  # contracts.messages.Profile
)

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # UUIDv7: ordered by time of acceptance
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("entity_id", sa.Text, nullable=False),
    sa.Column("data_version", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("action_digest", sa.Text, nullable=False),
    sa.Column("request", VERBATIM, nullable=False),  # contracts.messages.ProcessRequest
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("callback_url", sa.Text),  # None also for "our own report address"
    sa.Column("profile", JSONB, nullable=False),  # {"requested": …, "granted": Profile, "reason": …}
    sa.Column("cores", sa.Integer, nullable=False, server_default="1"),  # of the granted profile
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("not_before", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    # Release and launch of the current attempt; columns, not states.
    moment("released_at"),
    sa.Column("topic_id", sa.Text),
    sa.Column("log_partition", sa.Integer),
    sa.Column("log_offset", sa.BigInteger),
    sa.Column("launch_id", sa.Uuid),
    sa.Column("run_id", sa.Text),
    # The live commit permit of the process, whichever attempt holds it.
    sa.Column("permit_token", sa.Text),
    moment("permit_until"),
    # How the process ends once no permit is live: {"state": …, "reason": contracts.reasons.Reason or null, "actor": …}
    sa.Column("ending", JSONB),
    sa.Column("reason", JSONB),
    sa.Column("artifact", JSONB),  # contracts.callbacks.Artifact
    sa.Column("retry_of", sa.Uuid),  # the ended process that this one repeats
    sa.Column("backfill_id", sa.Uuid),
    now("created_at"),
    now("updated_at"),
    sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
    moment("finished_at"),
    sa.Index("uq_processes_active_coordinate", *_COORDINATE, unique=True, postgresql_where=ACTIVE_SQL),
    sa.Index("ix_processes_begun", "updated_at", "id", postgresql_where=BEGUN_SQL),
    sa.Index("ix_processes_backlog", "deadline_at", postgresql_where=BACKLOG_SQL),
    sa.Index("ix_processes_in_flight", "tenant_id", postgresql_where=IN_FLIGHT_SQL),
    sa.Index("ix_processes_finished_at", "finished_at", postgresql_where=sa.text("finished_at IS NOT NULL")),
    sa.Index("ix_processes_ready", "tenant_id", "backfill_id", *_RELEASE_ORDER, postgresql_where=WAITING_SQL),
    sa.Index("ix_processes_backfill_id_state", "backfill_id", "state", postgresql_where=_OF_BACKFILL_SQL),
    sa.Index("ix_processes_backfill_id_id", "backfill_id", "id", postgresql_where=_OF_BACKFILL_SQL),
    # A page of a list: the newest of a tenant, and the newest of those that one filter leaves.
    sa.Index("ix_processes_tenant_id_id", "tenant_id", "id"),
    sa.Index("ix_processes_tenant_id_state_id", "tenant_id", "state", "id"),
    sa.Index("ix_processes_tenant_id_action_id", "tenant_id", "action", "id"),
    sa.Index("ix_processes_tenant_id_data_version_id", "tenant_id", "data_version", "id"),
    sa.Index("ix_processes_coordinate", *_COORDINATE),
    sa.Index("ix_processes_succeeded", "tenant_id", "action", "finished_at", postgresql_where=SUCCEEDED_SQL),
    sa.Index("ix_processes_succeeded_again", "tenant_id", "action", "finished_at", postgresql_where=AGAIN_SQL),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("process_id", sa.Uuid, nullable=False),
    sa.Column("response", VERBATIM, nullable=False),  # the body of the first 202
    now("created_at"),
    sa.Index("ix_idempotency_keys_created_at", "created_at"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("process_id", sa.ForeignKey("processes.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    now("created_at"),
)
"""What waits to be released; a row goes when Kafka has acknowledged its record."""

launches = sa.Table(
    "launches",
    metadata,
    sa.Column("process_id", sa.ForeignKey("processes.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("launch_id", sa.Uuid, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    # The record that intake answered with ``launch``: by it and the cursor a lost attempt is recognised.
    sa.Column("topic_id", sa.Text, nullable=False),
    sa.Column("log_partition", sa.Integer, nullable=False),
    sa.Column("log_offset", sa.BigInteger, nullable=False),
    now("created_at"),
    sa.Index("ix_launches_launch_id", "launch_id"),
)
"""Decided and stored once per attempt: which launch computes it."""

process_events = sa.Table(
    "process_events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("process_id", sa.ForeignKey("processes.id"), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    now("at"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("from_state", sa.Text),
    sa.Column("to_state", sa.Text),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("detail", JSONB, nullable=False, server_default="{}"),
    sa.Index("ix_process_events_process_id_id", "process_id", "id"),
)
"""Append-only: the audit log and the timeline."""

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("entity_id", sa.Text, nullable=False),
    sa.Column("data_version", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("tenant_id", sa.Text),  # None: published by an operator's run
    sa.Column("process_id", sa.Uuid),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("artifact", JSONB, nullable=False),  # contracts.callbacks.Artifact
    sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
    moment("retired_at"),
    sa.PrimaryKeyConstraint("entity_id", "data_version", "dataset"),
    sa.Index("ix_snapshots_data_version", "data_version", "entity_id", "dataset"),
    sa.Index("ix_snapshots_dataset", "dataset", "entity_id", "data_version"),
)
"""What is known to be published. The commits in the lake are the truth; this is their index."""

subscribers = sa.Table(
    "subscribers",
    metadata,
    sa.Column("process_id", sa.ForeignKey("processes.id"), primary_key=True),
    sa.Column("url", sa.Text, primary_key=True),
    now("created_at"),
)
"""Who wants to hear of a process beside its requester: others who asked for the same while it was under way."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # the webhook-id
    sa.Column("process_id", sa.ForeignKey("processes.id"), nullable=False),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # the very bytes of every try
    sa.Column("state", sa.Text, nullable=False, server_default="pending"),  # pending | delivered | exhausted
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.Text),
    now("created_at"),
    moment("delivered_at"),
    sa.Index("ix_deliveries_exhausted", "created_at", postgresql_where=EXHAUSTED_SQL),
    sa.Index("ix_deliveries_process_id", "process_id"),
)
# The URL's host and port. In so many words: the index is used for what is written as it is.
callback_host = sa.func.lower(
    sa.func.split_part(sa.func.split_part(deliveries.c.url, sa.text("'/'"), sa.text("3")), sa.text("'?'"), sa.text("1"))
)
sa.Index(
    "ix_deliveries_by_host",
    deliveries.c.tenant_id,
    callback_host,
    deliveries.c.next_try_at,
    postgresql_where=PENDING_SQL,
)
