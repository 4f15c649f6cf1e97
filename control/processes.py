"""What the API tells of processes: one in full, or a page of them. A tenant sees its own only."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, select

from contracts.callbacks import Artifact
from contracts.problems import ProblemError
from contracts.states import State
from contracts.views import (
    CallbackStatus,
    GrantedProfile,
    ProcessPage,
    ProcessSummary,
    ProcessView,
    RunStatus,
    RunUnavailable,
)
from control.releasing.blocking import blocked_by
from control.tables import deliveries, process_events, processes
from control.tenancy.ownership import own_process
from control.timeline import timeline
from resources.dagster.runs import DagsterRunsUnavailableError
from resources.database import Database
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

RUN_SECONDS = 2.0
"""How long a view waits for Dagster's storage before it says that run status is unavailable."""
# What _summary reads: a page of requests, of up to 64 KiB each, would be read for nothing.
_SUMMARY = tuple(
    processes.c[name]
    for name in (
        *("id", "entity_id", "data_version", "action", "dataset"),
        *("state", "reason", "attempt", "priority", "created_at", "finished_at"),
    )
)


_CALLBACK = (
    deliveries.c.id.label("webhook_id"),
    *(deliveries.c[name] for name in CallbackStatus.model_fields if name != "webhook_id"),
)


class RunReader(Protocol):
    """Reads Dagster's storage; ``resources.dagster.runs.DagsterRuns`` is one."""

    async def run_of_launch(self, launch_id: UUID) -> RunStatus | None:
        """Return the run of a launch, or None. Raises DagsterRunsUnavailableError."""
        ...


async def get(
    db: Database, runs: RunReader | None, settings: ControlSettings, tenant_id: str, process_id: UUID
) -> ProcessView:
    """Return everything about one process; raises ProblemError (not_found) also for somebody else's."""
    async with db.reading() as conn:
        row = await own_process(conn, tenant_id, process_id)
        of_process = process_events.c.process_id == process_id
        events = (await conn.execute(select(process_events).where(of_process).order_by(process_events.c.id))).mappings()
        happened = events.all()
        # The requester's own; those of others are in the callbacks' log.
        own = (deliveries.c.process_id == process_id, deliveries.c.url == row["callback_url"])
        delivery = (await conn.execute(select(*_CALLBACK).where(*own))).mappings().first()
        current = [event for event in happened if event["attempt"] == row["attempt"]]
        blocked = await blocked_by(conn, row, current, settings.max_in_flight)
    artifact = row["artifact"] and Artifact.model_validate(row["artifact"])
    return ProcessView(
        **_summary(row).model_dump(),
        deadline_at=row["deadline_at"],
        retry_of=row["retry_of"],
        profile=GrantedProfile.model_validate(row["profile"]),
        blocked_by=blocked,
        launch_id=row["launch_id"],
        run=await _run(runs, row["launch_id"]),
        snapshot=artifact,
        metrics=_metrics(artifact, happened),
        callback=None if delivery is None else CallbackStatus.model_validate(dict(delivery)),
        timeline=timeline(happened),
    )


async def page(
    db: Database, tenant_id: str, filters: Mapping[str, Any], *, limit: int, cursor: str | None = None
) -> ProcessPage:
    """Return the newest processes that match, ``limit`` at most, after ``cursor``.

    ``filters``: column (entity_id, data_version, action, state, backfill_id) → value, None for any.
    Raises ProblemError (validation_failed) for a cursor that is none.
    """
    query = select(*_SUMMARY).where(processes.c.tenant_id == tenant_id)
    for column, value in filters.items():
        if value is not None:
            query = query.where(processes.c[column] == value)
    if cursor is not None:
        query = query.where(processes.c.id < decode_cursor(cursor))
    async with db.reading() as conn:
        rows = (await conn.execute(query.order_by(processes.c.id.desc()).limit(limit + 1))).mappings().all()
    shown = rows[:limit]
    more = encode_cursor(shown[-1]["id"]) if len(rows) > limit else None
    return ProcessPage(processes=[_summary(row) for row in shown], next_cursor=more)


def _summary(row: RowMapping) -> ProcessSummary:
    return ProcessSummary(
        process_id=row["id"],
        entity_id=row["entity_id"],
        data_version=row["data_version"],
        action=row["action"],
        dataset=row["dataset"],
        state=State(row["state"]),
        reason=row["reason"],
        attempt=row["attempt"],
        priority=row["priority"],
        accepted_at=row["created_at"],
        finished_at=row["finished_at"],
    )


async def _run(runs: RunReader | None, launch_id: UUID | None) -> RunStatus | RunUnavailable | None:
    if launch_id is None:
        return None
    if runs is None:
        return RunUnavailable()
    try:
        return await asyncio.wait_for(runs.run_of_launch(launch_id), RUN_SECONDS)
    except (DagsterRunsUnavailableError, TimeoutError) as error:
        log.warning("run.unavailable", launch_id=str(launch_id), error=str(error))
        return RunUnavailable()


def _metrics(artifact: Artifact | None, events: Sequence[RowMapping]) -> dict[str, Any]:
    if artifact is None:
        return {}
    told: Mapping[str, Any] = next((event["detail"] for event in events if event["kind"] == State.SUCCEEDED), {})
    sizes = artifact.model_dump(include={"rows", "bytes", "files"})
    return {**sizes, "checks": told.get("checks", []), "resources": told.get("resources", {})}


def encode_cursor(process_id: UUID) -> str:
    """Return the cursor of the page that follows ``process_id``."""
    return base64.urlsafe_b64encode(process_id.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Return the last process of the page before; raises ProblemError (validation_failed)."""
    # It names a place, not a row: whatever it holds, the query shows the tenant's own processes only.
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (ValueError, binascii.Error):
        errors = [{"field": "cursor", "rule": "must be the next_cursor of an earlier page"}]
        raise ProblemError("validation_failed", "the cursor cannot be read", errors=errors) from None
