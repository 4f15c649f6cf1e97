"""Dagster's run storage, read only: which run a launch became, and how it stands.

Dagster's tables are not an interface it promises to keep, so a contract query is asked first. When it does not fit, or
the storage is away, run status is unavailable and everything else goes on.

LakemillError
└── DagsterRunsUnavailableError   nothing is known about runs now
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pydantic import SecretStr
from sqlalchemy import Row, TextClause, bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from contracts.intake import LAUNCH_TAG
from contracts.problems import LakemillError
from contracts.views import RunStatus
from resources.database import Database, DatabaseUnavailableError

log = structlog.get_logger(__name__)

_POOL_SIZE = 8

_CONTRACT = (
    text("SELECT run_id, status, create_timestamp, start_time::float8, end_time::float8 FROM runs LIMIT 0"),
    text("SELECT run_id, key, value FROM run_tags LIMIT 0"),
)
# The last one counts: a run that has left NOT_STARTED, then the newest. An operator may have run a launch again.
_OF_LAUNCHES = text("""
    SELECT tag.value AS launch_id, run.run_id, run.status, run.start_time, run.end_time
    FROM run_tags AS tag JOIN runs AS run ON run.run_id = tag.run_id
    WHERE tag.key = :key AND tag.value IN :values
    ORDER BY (run.status = 'NOT_STARTED') DESC, run.create_timestamp
""").bindparams(bindparam("values", expanding=True))
_OF_IDS = text("""
    SELECT tag.value AS launch_id, run.run_id, run.status, run.start_time, run.end_time
    FROM runs AS run JOIN run_tags AS tag ON run.run_id = tag.run_id
    WHERE tag.key = :key AND run.run_id IN :run_ids
""").bindparams(bindparam("run_ids", expanding=True))
_DEAD_SINCE = text("""
    SELECT tag.value AS launch_id, run.run_id, run.status, run.start_time, run.end_time
    FROM runs AS run JOIN run_tags AS tag ON run.run_id = tag.run_id
    WHERE run.status IN ('FAILURE', 'CANCELED') AND tag.key = :key
      AND coalesce(run.end_time, extract(epoch FROM run.create_timestamp)) > :since
    ORDER BY run.end_time DESC
    LIMIT 1000
""")


class DagsterRunsUnavailableError(LakemillError):
    """Dagster's storage cannot be read. Check LAKEMILL_DAGSTER_DATABASE_URL, the reader's grants, Dagster's version."""

    retriable = True


class RunState(StrEnum):
    """Dagster's run statuses, as its storage spells them."""

    NOT_STARTED = "NOT_STARTED"
    MANAGED = "MANAGED"
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    SUSPENDED = "SUSPENDED"


OVER = frozenset({RunState.SUCCESS, RunState.FAILURE, RunState.CANCELED})
"""The statuses that a run never leaves."""


class DagsterRuns:
    """Reads ``runs`` and ``run_tags`` with a role that may only read. ``ui_url`` is where people look at a run."""

    def __init__(self, url: SecretStr, ui_url: str) -> None:
        self._db = Database(url, pool_size=_POOL_SIZE)
        self._ui_url = ui_url.rstrip("/")
        self._fits = False
        self._was_available: bool | None = None

    async def check(self) -> None:
        """Ask the contract query. Raises DagsterRunsUnavailableError."""
        await self._read(_CONTRACT[0])

    async def run_of_launch(self, launch_id: UUID) -> RunStatus | None:
        """Return the run of a launch, or None when Dagster knows none. Raises DagsterRunsUnavailableError."""
        return (await self.runs_of_launches([launch_id])).get(launch_id)

    async def runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, RunStatus]:
        """Return the run that counts of those launches that have one. Raises DagsterRunsUnavailableError."""
        return {launch_id: runs[-1] for launch_id, runs in (await self.all_runs_of_launches(launch_ids)).items()}

    async def all_runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, list[RunStatus]]:
        """Return every run of those launches that have one, last the one that counts.

        Raises DagsterRunsUnavailableError.
        """
        if not launch_ids:
            return {}
        values = [str(launch_id) for launch_id in launch_ids]
        found: dict[UUID, list[RunStatus]] = {}
        for launch_id, run in self._statuses(await self._read(_OF_LAUNCHES, key=LAUNCH_TAG, values=values)):
            found.setdefault(launch_id, []).append(run)
        return found

    async def runs_of_ids(self, run_ids: Collection[str]) -> dict[str, RunStatus]:
        """Return those runs of launches that Dagster knows. Raises DagsterRunsUnavailableError."""
        if not run_ids:
            return {}
        rows = await self._read(_OF_IDS, key=LAUNCH_TAG, run_ids=sorted(run_ids))
        return {run.run_id: run for _, run in self._statuses(rows)}

    async def dead_since(self, moment: datetime) -> list[tuple[UUID, RunStatus]]:
        """Return (launch, run) of what failed or was cancelled after ``moment``, newest first, 1,000 at most.

        Raises DagsterRunsUnavailableError.
        """
        return self._statuses(await self._read(_DEAD_SINCE, key=LAUNCH_TAG, since=moment.timestamp()))

    async def close(self) -> None:
        """Close every connection."""
        await self._db.close()

    async def _read(self, query: TextClause, **parameters: Any) -> Sequence[Row[Any]]:
        try:
            async with self._db.transaction() as conn:
                await conn.execute(text("SET TRANSACTION READ ONLY"))
                if not self._fits:
                    for contract in _CONTRACT:
                        await conn.execute(contract)
                rows = (await conn.execute(query, parameters)).all()
        except (DatabaseUnavailableError, SQLAlchemyError, asyncpg.PostgresError) as error:
            self._fits = False
            cause = str(error.orig) if isinstance(error, SQLAlchemyError) and hasattr(error, "orig") else str(error)
            self._alert(cause)
            raise DagsterRunsUnavailableError(f"Dagster's run storage cannot be read: {cause}") from error
        self._fits = True
        self._alert(None)
        return rows

    def _alert(self, cause: str | None) -> None:
        """Log when it changes, not each time."""
        is_available = cause is None
        if is_available != self._was_available:
            self._was_available = is_available
            if is_available:
                log.info("dagster_runs.available")
            else:
                log.error("dagster_runs.unavailable", cause=cause)

    def _statuses(self, rows: Sequence[Row[Any]]) -> list[tuple[UUID, RunStatus]]:
        found = []
        for row in rows:
            try:
                launch_id = UUID(row.launch_id)
            except ValueError:
                continue  # a tag that somebody typed
            status = RunStatus(
                run_id=row.run_id,
                status=row.status,
                started_at=_moment(row.start_time),
                ended_at=_moment(row.end_time),
                url=f"{self._ui_url}/runs/{row.run_id}",
            )
            found.append((launch_id, status))
        return found


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
