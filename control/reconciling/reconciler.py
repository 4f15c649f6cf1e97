"""Reconcile: every process that has not ended, held against the commits, the cursor and Dagster's runs.

The order is what makes it safe: the cursor is read first, then the processes, then the runs, then the commits. What the
cursor has passed was judged by intake, and had its run, before we look; what a run committed is there when the run is
seen to be over. The decisions are in ``control/rules/reconciling.py``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, Select, and_, func, literal, select, true, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.states import State
from contracts.views import RunStatus
from control.log.tables import cursors
from control.outcomes import end_attempt, end_process, finish_pending, settle_by_commit
from control.rules.reconciling import (
    Cursors,
    FoundRuns,
    Passed,
    Step,
    deadline_reason,
    decide,
    died_reason,
    has_moved_on,
    lost_reason,
    needs_lake,
    resend_delay,
    subject_of,
)
from control.snapshots import CommitReader
from control.tables import BACKLOG_SQL, BEGUN_SQL, launches, processes
from control.together import together
from control.transitions import lock, send_again, times_resent
from resources.dagster.runs import DagsterRunsUnavailableError
from resources.database import Database
from resources.lake.store import LakeError
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

ACTOR = "reconciler"
BATCH = 500
PATIENCE_SECONDS = 60.0
"""A pass that has met a silent lake asks it nothing more after this: it ends before the worker counts as stuck."""
_AT_ONCE = 8
_LAUNCHED = frozenset({State.QUEUED, State.RUNNING})
# What is decided by; a request may be 64 KiB.
_LOOKED_AT = tuple(
    processes.c[name]
    for name in (
        *("id", "state", "attempt", "updated_at", "deadline_at", "ending", "released_at"),
        *("topic_id", "log_partition", "log_offset", "launch_id", "run_id"),
    )
)


class Runs(Protocol):
    """Dagster's runs; ``resources.dagster.runs.DagsterRuns`` is one."""

    async def runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, RunStatus]:
        """Return the runs of those launches that have one. Raises DagsterRunsUnavailableError."""
        ...

    async def runs_of_ids(self, run_ids: Collection[str]) -> dict[str, RunStatus]:
        """Return those runs that Dagster knows. Raises DagsterRunsUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Holds what has not ended against what is so. ``runs`` is None where Dagster's storage is not configured."""

    db: Database
    lake: CommitReader
    runs: Runs | None
    settings: ControlSettings
    clock: Callable[[], float] = monotonic

    async def reconcile(self) -> int:
        """Look at every process that has not ended once; returns for how many something was done.

        What one process meets (LakeError) does not keep the others from being looked at, unless it takes too long.
        Raises DatabaseUnavailableError.
        """
        acted = 0
        failures: list[LakeError] = []
        places = asyncio.Semaphore(_AT_ONCE)
        give_up_at = self.clock() + PATIENCE_SECONDS

        async def one(row: RowMapping, known: Cursors, found: FoundRuns | None) -> bool:
            async with places:
                if failures and self.clock() > give_up_at and needs_lake(row):
                    return False
                try:
                    return await self._reconcile_one(row, known, found)
                except LakeError as error:
                    failures.append(error)
                    return False

        async for known, rows in self._batches():
            found = await self._find_runs(rows)
            acted += sum(await together(one(row, known, found) for row in rows))
        if failures:
            log.warning("reconcile.lake_unreadable", processes=len(failures), error=str(failures[0]))
        return acted

    async def _reconcile_one(self, row: RowMapping, known: Cursors, found: FoundRuns | None) -> bool:
        if needs_lake(row) and await settle_by_commit(self.db, self.lake, row["id"]):
            return True
        run = None if found is None else found.of(row["launch_id"], row["run_id"])
        step = decide(subject_of(row), known, run, runs_known=found is not None)
        if step is not Step.NOTHING:
            log.info("reconcile.step", step=step.value, process_id=str(row["id"]), attempt=row["attempt"])
        return await self._take(step, row, run)

    async def _take(self, step: Step, row: RowMapping, run: RunStatus | None) -> bool:
        target = (self.db, self.lake, row["id"])
        match step:
            case Step.NOTHING:
                return False
            case Step.FINISH:
                return await finish_pending(*target, settings=self.settings)
            case Step.EXPIRE:
                reason = deadline_reason(row["deadline_at"])
                await end_process(*target, State.EXPIRED, reason, ACTOR, settings=self.settings)
            case Step.RESEND:
                async with self.db.transaction() as conn:
                    return await _resend(conn, row)
            case Step.LOST | Step.DIED:
                reason = lost_reason() if run is None or step is Step.LOST else died_reason(run)
                detail = {"run_id": run.run_id, "run_status": run.status} if run else {}
                await end_attempt(*target, row["attempt"], reason, ACTOR, settings=self.settings, detail=detail)
        return True

    async def _batches(self) -> AsyncIterator[tuple[Cursors, Sequence[RowMapping]]]:
        """Yield the processes worth looking at, the longest untouched first, each at most once, with the cursor."""
        async with self.db.reading() as conn:
            began: datetime = (await conn.execute(select(func.now()))).scalar_one()
        after: tuple[datetime, UUID] | None = None
        while True:
            async with self.db.reading() as conn:
                known = await _cursors(conn, self.settings.kafka_topic)
                rows = (await conn.execute(_candidates(began, after))).mappings().all()
            if rows:
                yield known, rows
            if len(rows) < BATCH:
                return
            after = (rows[-1]["updated_at"], rows[-1]["id"])

    async def _find_runs(self, rows: Sequence[RowMapping]) -> FoundRuns | None:
        """Return the runs of the attempts in ``rows``; None when nothing can be known, and so nothing be concluded."""
        if self.runs is None:
            return None
        launched = [row for row in rows if row["state"] in _LAUNCHED and row["launch_id"] is not None]
        try:
            by_id = await self.runs.runs_of_ids([row["run_id"] for row in launched if row["run_id"] is not None])
            waiting = [row["launch_id"] for row in launched if row["run_id"] is None]
            return FoundRuns(await self.runs.runs_of_launches(waiting), by_id)
        except DagsterRunsUnavailableError:
            return None  # the reader has raised the alert


def _candidates(began: datetime, after: tuple[datetime, UUID] | None) -> Select[Any]:
    # The backlog, however long, is not read: what waits for its first release can only run out of time.
    place = (processes.c.updated_at, processes.c.id)
    is_next = tuple_(*place) > tuple_(literal(after[0]), literal(after[1])) if after is not None else true()
    of_these = [
        select(processes.c.id)
        .where(which, processes.c.updated_at <= began, is_next)
        .order_by(*place)
        .limit(BATCH)
        .subquery()
        for which in (BEGUN_SQL, and_(BACKLOG_SQL, processes.c.deadline_at <= func.now()))
    ]
    ids = union_all(*(select(each.c.id) for each in of_these))
    is_launch = (launches.c.process_id == processes.c.id) & (launches.c.attempt == processes.c.attempt)
    return (
        select(
            *_LOOKED_AT,
            launches.c.topic_id.label("launch_topic_id"),
            launches.c.log_partition.label("launch_partition"),
            launches.c.log_offset.label("launch_offset"),
            launches.c.created_at.label("launched_at"),
            (processes.c.deadline_at <= func.now()).label("is_overdue"),
        )
        .outerjoin(launches, is_launch)
        .where(processes.c.id.in_(ids))
        .order_by(*place)
        .limit(BATCH)
    )


async def _cursors(conn: AsyncConnection, topic: str) -> Cursors:
    rows = (await conn.execute(select(cursors).where(cursors.c.topic == topic))).mappings()
    return Cursors([Passed(row["log_partition"], row["topic_id"], row["next_offset"], row["seen_at"]) for row in rows])


async def _resend(conn: AsyncConnection, seen: RowMapping) -> bool:
    """Put the attempt back into the outbox, unless it has moved on since it was ``seen``."""
    row = await lock(conn, seen["id"])
    if row is None or has_moved_on(row, seen):
        return False
    await send_again(conn, row, delay=resend_delay(await times_resent(conn, row)), actor=ACTOR)
    return True
