"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON, JSONB

revision = "0001"
down_revision = None

ACTIVE = "state IN ('accepted', 'queued', 'running')"


def upgrade() -> None:
    """Create everything."""
    _who_and_what()
    _processes()
    _around_a_process()
    _lake_and_log()


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()"))


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True))


def _who_and_what() -> None:
    op.create_table(
        "tenants",
        _column("id", sa.Text),
        _column("webhook_secret", sa.Text),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
    )
    op.create_table(
        "api_keys",
        _column("prefix", sa.Text),
        _column("tenant_id", sa.Text),
        _column("secret_sha256", sa.LargeBinary),
        _column("scopes", JSONB),
        _now("created_at"),
        _moment("expires_at"),
        _moment("revoked_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_api_keys_tenant_id"),
        sa.PrimaryKeyConstraint("prefix", name="pk_api_keys"),
    )
    op.create_table(
        "actions",
        _column("name", sa.Text),
        _column("dataset", sa.Text),
        _column("digest", sa.Text),
        _column("entry", JSONB),
        sa.Column("is_published", sa.SmallInteger, server_default="1", nullable=False),
        _now("published_at"),
        sa.PrimaryKeyConstraint("name", name="pk_actions"),
    )
    op.create_table(
        "profiles",
        _column("name", sa.Text),
        _column("profile", JSONB),
        sa.PrimaryKeyConstraint("name", name="pk_profiles"),
    )


def _processes() -> None:
    op.create_table(
        "processes",
        _column("id", sa.Uuid),
        _column("tenant_id", sa.Text),
        _column("entity_id", sa.Text),
        _column("data_version", sa.Text),
        _column("dataset", sa.Text),
        _column("action", sa.Text),
        _column("action_digest", sa.Text),
        _column("request", JSON),
        _column("request_hash", sa.Text),
        sa.Column("callback_url", sa.Text),
        _column("profile", JSONB),
        _column("priority", sa.SmallInteger),
        _column("state", sa.Text),
        sa.Column("attempt", sa.Integer, server_default="1", nullable=False),
        _now("not_before"),
        _moment("released_at"),
        sa.Column("topic_id", sa.Text),
        sa.Column("log_partition", sa.Integer),
        sa.Column("log_offset", sa.BigInteger),
        sa.Column("launch_id", sa.Uuid),
        sa.Column("run_id", sa.Text),
        sa.Column("permit_token", sa.Text),
        _moment("permit_until"),
        sa.Column("ending", JSONB),
        sa.Column("reason", JSONB),
        sa.Column("artifact", JSONB),
        _now("created_at"),
        _now("updated_at"),
        _column("deadline_at", sa.DateTime(timezone=True)),
        _moment("finished_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_processes_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )
    op.create_index("ix_processes_active", "processes", ["updated_at"], postgresql_where=sa.text(ACTIVE))
    op.create_index("ix_processes_coordinate", "processes", ["entity_id", "data_version", "dataset"])
    op.create_index("ix_processes_tenant_id_id", "processes", ["tenant_id", "id"])
    op.create_index(
        "uq_processes_active_coordinate",
        "processes",
        ["entity_id", "data_version", "dataset"],
        unique=True,
        postgresql_where=sa.text(ACTIVE),
    )


def _around_a_process() -> None:
    op.create_table(
        "idempotency_keys",
        _column("tenant_id", sa.Text),
        _column("key", sa.Text),
        _column("request_hash", sa.Text),
        _column("process_id", sa.Uuid),
        _column("response", JSON),
        _now("created_at"),
        sa.PrimaryKeyConstraint("tenant_id", "key", name="pk_idempotency_keys"),
    )
    op.create_table(
        "outbox",
        _column("process_id", sa.Uuid),
        _column("attempt", sa.Integer),
        _now("created_at"),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"], name="fk_outbox_process_id"),
        sa.PrimaryKeyConstraint("process_id", name="pk_outbox"),
    )
    op.create_table(
        "launches",
        _column("process_id", sa.Uuid),
        _column("attempt", sa.Integer),
        _column("launch_id", sa.Uuid),
        _column("lane", sa.Text),
        _column("topic_id", sa.Text),
        _column("log_partition", sa.Integer),
        _column("log_offset", sa.BigInteger),
        _now("created_at"),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"], name="fk_launches_process_id"),
        sa.PrimaryKeyConstraint("process_id", "attempt", name="pk_launches"),
    )
    op.create_index("ix_launches_launch_id", "launches", ["launch_id"])
    op.create_table(
        "process_events",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        _column("process_id", sa.Uuid),
        _column("attempt", sa.Integer),
        _now("at"),
        _column("kind", sa.Text),
        sa.Column("from_state", sa.Text),
        sa.Column("to_state", sa.Text),
        _column("actor", sa.Text),
        sa.Column("detail", JSONB, server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"], name="fk_process_events_process_id"),
        sa.PrimaryKeyConstraint("id", name="pk_process_events"),
    )
    op.create_index("ix_process_events_process_id_id", "process_events", ["process_id", "id"])
    op.create_table(
        "deliveries",
        _column("id", sa.Uuid),
        _column("process_id", sa.Uuid),
        _column("tenant_id", sa.Text),
        _column("url", sa.Text),
        _column("body", sa.Text),
        sa.Column("state", sa.Text, server_default="pending", nullable=False),
        sa.Column("tries", sa.Integer, server_default="0", nullable=False),
        _now("next_try_at"),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        _now("created_at"),
        _moment("delivered_at"),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"], name="fk_deliveries_process_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["next_try_at"], postgresql_where=sa.text("state = 'pending'"))
    op.create_index("ix_deliveries_process_id", "deliveries", ["process_id"])


def _lake_and_log() -> None:
    op.create_table(
        "snapshots",
        _column("entity_id", sa.Text),
        _column("data_version", sa.Text),
        _column("dataset", sa.Text),
        sa.Column("tenant_id", sa.Text),
        sa.Column("process_id", sa.Uuid),
        _column("token", sa.Text),
        _column("artifact", JSONB),
        _column("committed_at", sa.DateTime(timezone=True)),
        _moment("retired_at"),
        sa.PrimaryKeyConstraint("entity_id", "data_version", "dataset", name="pk_snapshots"),
    )
    op.create_table(
        "dead_letters",
        _column("topic_id", sa.Text),
        _column("log_partition", sa.Integer),
        _column("log_offset", sa.BigInteger),
        _column("topic", sa.Text),
        _column("code", sa.Text),
        _column("message", sa.Text),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        _now("created_at"),
        sa.PrimaryKeyConstraint("topic_id", "log_partition", "log_offset", name="pk_dead_letters"),
    )
    op.create_table(
        "cursors",
        _column("topic", sa.Text),
        _column("log_partition", sa.Integer),
        _column("topic_id", sa.Text),
        _column("next_offset", sa.BigInteger),
        _now("seen_at"),
        sa.PrimaryKeyConstraint("topic", "log_partition", name="pk_cursors"),
    )
    op.create_table(
        "log_gaps",
        _column("topic_id", sa.Text),
        _column("log_partition", sa.Integer),
        _column("expected_offset", sa.BigInteger),
        _column("found_offset", sa.BigInteger),
        _column("topic", sa.Text),
        _now("created_at"),
        sa.PrimaryKeyConstraint("topic_id", "log_partition", "expected_offset", name="pk_log_gaps"),
    )
