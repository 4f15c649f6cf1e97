"""The control plane's tables: metadata, state and history only; nothing analytical is ever stored here.

The migrations under ``control/migrations`` make them; a test compares both.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import JSONB as _JSONB

from contracts.states import ACTIVE

metadata = MetaData(
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

ACTIVE_SQL = text("state IN ({})".format(", ".join(f"'{state.value}'" for state in sorted(ACTIVE))))


def _now(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _moment(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True))


tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("webhook_secret", Text, nullable=False),  # whsec_…: symmetric by the Standard Webhooks specification
    _now("created_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", Text, primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("scopes", JSONB, nullable=False),
    _now("created_at"),
    _moment("expires_at"),
    _moment("revoked_at"),
)

actions = Table(
    "actions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("entry", JSONB, nullable=False),  # contracts.reports.ActionEntry
    Column("is_published", SmallInteger, nullable=False, server_default="1"),  # 0 once withdrawn
    _now("published_at"),
)

profiles = Table(
    "profiles",
    metadata,
    Column("name", Text, primary_key=True),
    Column("profile", JSONB, nullable=False),  # contracts.messages.ResourceProfile
)

processes = Table(
    "processes",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: ordered by time of acceptance
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("data_version", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("action_digest", Text, nullable=False),
    Column("request", VERBATIM, nullable=False),  # contracts.messages.ProcessRequest
    Column("request_hash", Text, nullable=False),
    Column("callback_url", Text),  # None also for "our own report address"
    Column("profile", JSONB, nullable=False),  # {"requested": …, "granted": ResourceProfile, "reason": …}
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Release and launch of the current attempt; columns, not states.
    _moment("released_at"),
    Column("topic_id", Text),
    Column("log_partition", Integer),
    Column("log_offset", BigInteger),
    Column("launch_id", Uuid),
    Column("run_id", Text),
    # The live commit permit of the process, whichever attempt holds it.
    Column("permit_token", Text),
    _moment("permit_until"),
    # How the process ends once no permit is live: {"state": …, "reason": contracts.reasons.Reason or null, "actor": …}
    Column("ending", JSONB),
    Column("reason", JSONB),
    Column("artifact", JSONB),  # contracts.callbacks.Artifact
    _now("created_at"),
    _now("updated_at"),
    Column("deadline_at", DateTime(timezone=True), nullable=False),
    _moment("finished_at"),
    Index(
        "uq_processes_active_coordinate",
        "entity_id",
        "data_version",
        "dataset",
        unique=True,
        postgresql_where=ACTIVE_SQL,
    ),
    Index("ix_processes_active", "updated_at", postgresql_where=ACTIVE_SQL),
    Index("ix_processes_tenant_id_id", "tenant_id", "id"),
    Index("ix_processes_coordinate", "entity_id", "data_version", "dataset"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("process_id", Uuid, nullable=False),
    Column("response", VERBATIM, nullable=False),  # the body of the first 202
    _now("created_at"),
    PrimaryKeyConstraint("tenant_id", "key"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("process_id", ForeignKey("processes.id"), primary_key=True),
    Column("attempt", Integer, nullable=False),
    _now("created_at"),
)
"""What waits to be released; a row goes when Kafka has acknowledged its record."""

launches = Table(
    "launches",
    metadata,
    Column("process_id", ForeignKey("processes.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("launch_id", Uuid, nullable=False),
    Column("lane", Text, nullable=False),
    # The record that intake answered with ``launch``: by it and the cursor a lost attempt is recognised.
    Column("topic_id", Text, nullable=False),
    Column("log_partition", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    _now("created_at"),
    PrimaryKeyConstraint("process_id", "attempt"),
    Index("ix_launches_launch_id", "launch_id"),
)
"""Decided and stored once per attempt: which launch computes it."""

process_events = Table(
    "process_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("process_id", ForeignKey("processes.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    _now("at"),
    Column("kind", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("actor", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Index("ix_process_events_process_id_id", "process_id", "id"),
)
"""Append-only: the audit log and the timeline."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("entity_id", Text, nullable=False),
    Column("data_version", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("tenant_id", Text),  # None: published by an operator's run
    Column("process_id", Uuid),
    Column("token", Text, nullable=False),
    Column("artifact", JSONB, nullable=False),  # contracts.callbacks.Artifact
    Column("committed_at", DateTime(timezone=True), nullable=False),
    _moment("retired_at"),
    PrimaryKeyConstraint("entity_id", "data_version", "dataset"),
)
"""What is known to be published. The commits in the lake are the truth; this is their index."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),  # the webhook-id
    Column("process_id", ForeignKey("processes.id"), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),  # the very bytes of every try
    Column("state", Text, nullable=False, server_default="pending"),  # pending | delivered | exhausted
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_status", Integer),
    Column("last_error", Text),
    _now("created_at"),
    _moment("delivered_at"),
    Index("ix_deliveries_due", "next_try_at", postgresql_where=text("state = 'pending'")),
    Index("ix_deliveries_process_id", "process_id"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("topic_id", Text, nullable=False),
    Column("log_partition", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    _now("created_at"),
    PrimaryKeyConstraint("topic_id", "log_partition", "log_offset"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("topic", Text, nullable=False),
    Column("log_partition", Integer, nullable=False),
    Column("topic_id", Text, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    _now("seen_at"),
    PrimaryKeyConstraint("topic", "log_partition"),
)
"""The cursor Dagster had durably stored when the sensor last called: everything before it has been handed over."""

log_gaps = Table(
    "log_gaps",
    metadata,
    Column("topic_id", Text, nullable=False),
    Column("log_partition", Integer, nullable=False),
    Column("expected_offset", BigInteger, nullable=False),
    Column("found_offset", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    _now("created_at"),
    PrimaryKeyConstraint("topic_id", "log_partition", "expected_offset"),
)
"""Records the log dropped before they were read; the reconciler drives their processes again."""
