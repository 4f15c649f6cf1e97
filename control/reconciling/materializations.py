"""A run that died between its commit and its materialization: the snapshot exists, and Dagster does not know it yet.

Asked from Dagster's side: dead runs are few, so the processes that ended well are never walked through.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, Select, exists, select

from contracts.states import State
from contracts.views import RunStatus
from control.loops import STEP_SECONDS
from control.tables import launches, process_events, processes
from control.transitions import note
from resources.dagster.graphql import DagsterGraphQLError
from resources.dagster.runs import DagsterRunsUnavailableError
from resources.database import Database

log = structlog.get_logger(__name__)

LOOK_BACK = timedelta(hours=24)
KIND = "materialization_reported"


class DeadRuns(Protocol):
    """``resources.dagster.runs.DagsterRuns`` is one."""

    async def dead_since(self, moment: datetime) -> list[tuple[UUID, RunStatus]]:
        """Return (launch, run) of what failed or was cancelled after ``moment``."""
        ...


class EventReporter(Protocol):
    """``resources.dagster.graphql.DagsterGraphQL`` is one."""

    async def report_materialization(self, asset: str, partition_key: str, description: str) -> None:
        """Record a materialization of one partition. Raises DagsterGraphQLError."""
        ...


async def report_lost_materializations(db: Database, runs: DeadRuns, reporter: EventReporter) -> int:
    """Tell Dagster of each snapshot whose own run is dead; once each, best effort; returns how many were told.

    Raises DatabaseUnavailableError.
    """
    try:
        dead = await runs.dead_since(datetime.now(UTC) - LOOK_BACK)
    except DagsterRunsUnavailableError:
        return 0  # the reader has raised the alert
    if not dead:
        return 0
    async with db.reading() as conn:
        rows = (await conn.execute(_untold(dead))).mappings().all()
    until = monotonic() + STEP_SECONDS
    for told, row in enumerate(rows):
        if told and monotonic() > until:
            return told
        description = f"Committed by run {row['run_id']}, which died before it could say so."
        try:
            await reporter.report_materialization(row["dataset"], partition_key(row), description)
        except DagsterGraphQLError as error:
            log.warning("materialization.not_reported", waiting=len(rows) - told, error=str(error))
            return told
        async with db.transaction() as conn:
            await note(conn, row, kind=KIND, actor="reconciler", detail={"run_id": row["run_id"]})
    return len(rows)


def partition_key(row: RowMapping) -> str:
    """Return the partition of Dagster's asset that a process publishes."""
    # Dagster orders the dimensions of a multi-partition key by their names.
    return f"{row['data_version']}|{row['entity_id']}"


def _untold(dead: Sequence[tuple[UUID, RunStatus]]) -> Select[Any]:
    """Select the succeeded processes whose committing run is among ``dead`` and that Dagster was not told of."""
    ended, told = process_events.alias("ended"), process_events.alias("told")
    run_id = ended.c.detail["run_id"].astext
    named = (processes.c.id, processes.c.attempt, processes.c.entity_id, processes.c.data_version, processes.c.dataset)
    return (
        select(*named, run_id.label("run_id"))
        .join(launches, launches.c.process_id == processes.c.id)
        .join(ended, ended.c.process_id == processes.c.id)
        .where(
            launches.c.launch_id.in_([launch_id for launch_id, _ in dead]),
            processes.c.state == State.SUCCEEDED.value,
            ended.c.kind == State.SUCCEEDED.value,
            run_id.in_([run.run_id for _, run in dead]),
            ~exists().where(told.c.process_id == processes.c.id, told.c.kind == KIND),
        )
        .distinct()
    )
