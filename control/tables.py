"""The control plane's tables: metadata, state and history only; nothing analytical is ever stored here.

The migrations under ``control/migrations`` make them; a test compares both.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import JSONB as _JSONB

from contracts.states import ACTIVE

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

JSONB = _JSONB(none_as_null=True)  # Python's None is SQL's NULL, never JSON's null
# JSONB would rewrite numbers (1e16, -0.0) and reorder keys; what is hashed or repeated must come back as written.
VERBATIM = JSON(none_as_null=True)

ACTIVE_SQL = sa.text("state IN ({})".format(", ".join(f"'{state.value}'" for state in sorted(ACTIVE))))
_COORDINATE = ("entity_id", "data_version", "dataset")
IN_FLIGHT_SQL = sa.text(f"released_at IS NOT NULL AND {ACTIVE_SQL}")
WAITING_SQL = sa.text("released_at IS NULL AND state = 'accepted'")


def _now(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True))


tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("webhook_secret", sa.Text, nullable=False),  # whsec_…: symmetric by the Standard Webhooks specification
    _now("created_at"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("prefix", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("secret_sha256", sa.LargeBinary, nullable=False),
    sa.Column("scopes", JSONB, nullable=False),
    _now("created_at"),
    _moment("expires_at"),
    _moment("revoked_at"),
)

actions = sa.Table(
    "actions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("entry", JSONB, nullable=False),  # contracts.reports.ActionEntry
    sa.Column("is_published", sa.SmallInteger, nullable=False, server_default="1"),  # 0 once withdrawn
    _now("published_at"),
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
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("not_before", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    # Release and launch of the current attempt; columns, not states.
    _moment("released_at"),
    sa.Column("topic_id", sa.Text),
    sa.Column("log_partition", sa.Integer),
    sa.Column("log_offset", sa.BigInteger),
    sa.Column("launch_id", sa.Uuid),
    sa.Column("run_id", sa.Text),
    # The live commit permit of the process, whichever attempt holds it.
    sa.Column("permit_token", sa.Text),
    _moment("permit_until"),
    # How the process ends once no permit is live: {"state": …, "reason": contracts.reasons.Reason or null, "actor": …}
    sa.Column("ending", JSONB),
    sa.Column("reason", JSONB),
    sa.Column("artifact", JSONB),  # contracts.callbacks.Artifact
    _now("created_at"),
    _now("updated_at"),
    sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
    _moment("finished_at"),
    sa.Index("uq_processes_active_coordinate", *_COORDINATE, unique=True, postgresql_where=ACTIVE_SQL),
    sa.Index("ix_processes_active", "updated_at", postgresql_where=ACTIVE_SQL),
    sa.Index("ix_processes_in_flight", "tenant_id", postgresql_where=IN_FLIGHT_SQL),
    sa.Index("ix_processes_ready", "tenant_id", sa.desc("priority"), "created_at", "id", postgresql_where=WAITING_SQL),
    sa.Index("ix_processes_tenant_id_id", "tenant_id", "id"),
    sa.Index("ix_processes_coordinate", *_COORDINATE),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("process_id", sa.Uuid, nullable=False),
    sa.Column("response", VERBATIM, nullable=False),  # the body of the first 202
    _now("created_at"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("process_id", sa.ForeignKey("processes.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    _now("created_at"),
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
    _now("created_at"),
    sa.Index("ix_launches_launch_id", "launch_id"),
)
"""Decided and stored once per attempt: which launch computes it."""

process_events = sa.Table(
    "process_events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("process_id", sa.ForeignKey("processes.id"), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    _now("at"),
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
    _moment("retired_at"),
    sa.PrimaryKeyConstraint("entity_id", "data_version", "dataset"),
)
"""What is known to be published. The commits in the lake are the truth; this is their index."""

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
    _now("created_at"),
    _moment("delivered_at"),
    sa.Index("ix_deliveries_due", "next_try_at", postgresql_where=sa.text("state = 'pending'")),
    sa.Index("ix_deliveries_process_id", "process_id"),
)

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
    _now("created_at"),
)

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("log_partition", sa.Integer, primary_key=True),
    sa.Column("topic_id", sa.Text, nullable=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    _now("seen_at"),
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
    _now("created_at"),
)
"""Records the log dropped before they were read; the reconciler drives their processes again."""
