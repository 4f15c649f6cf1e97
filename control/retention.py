"""Retention: what is old goes, in small batches, so that nothing waits for a delete. What is published stays.

A process goes with its events, launches, callbacks and subscribers, and with its runs in Dagster: but only when it has
ended long ago, as all have that a run of it computed, and no callback of it is under way. Before a run is deleted
Dagster is told of its snapshots without a run, so that their partitions keep their status.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, Select, Table, delete, exists, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.states import State
from contracts.views import RunStatus
from control.backfills.counts import keep_pruned
from control.callbacks.schedule import DeliveryState
from control.log.tables import dead_letters, log_gaps
from control.loops import STEP_SECONDS
from control.reconciling.materializations import EventReporter, partition_key
from control.tables import (
    deliveries,
    idempotency_keys,
    launches,
    outbox,
    process_events,
    processes,
    subscribers,
)
from resources.dagster.graphql import DagsterGraphQLError, DagsterRefusedError
from resources.dagster.runs import DagsterRunsUnavailableError, RunState
from resources.database import Database
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

BATCH = 500
PROCESSES_AT_ONCE = 50
_ALIVE = {RunState.QUEUED, RunState.STARTING, RunState.STARTED, RunState.CANCELING}
_IS_PENDING = deliveries.c.state == DeliveryState.PENDING.value
_IS_LAUNCHED = exists().where(launches.c.process_id == processes.c.id)
_CHILDREN = (process_events, launches, deliveries, subscribers, outbox)


class AllRuns(Protocol):
    """``resources.dagster.runs.DagsterRuns`` is one."""

    async def all_runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, list[RunStatus]]:
        """Return every run of those launches that have one. Raises DagsterRunsUnavailableError."""
        ...


class RunDeleter(EventReporter, Protocol):
    """``resources.dagster.graphql.DagsterGraphQL`` is one."""

    async def delete_run(self, run_id: str) -> None:
        """Let Dagster forget a run with its events. Raises DagsterGraphQLError."""
        ...


@dataclass(slots=True)
class Pruner:
    """Removes what is old. Without Dagster's storage (``runs``) processes go, and their runs stay."""

    db: Database
    settings: ControlSettings
    runs: AllRuns | None
    deleter: RunDeleter
    _after: tuple[datetime, UUID] | None = None
    """Up to where ended processes were looked at: what cannot go now must not keep the others from going."""

    async def step(self) -> int:
        """Remove one batch of each kind; returns how many rows and processes were removed.

        Raises DatabaseUnavailableError.
        """
        gone = 0
        for table, days in (
            (idempotency_keys, self.settings.retain_idempotency_days),
            (dead_letters, self.settings.retain_dead_letters_days),
            (log_gaps, self.settings.retain_dead_letters_days),
        ):
            gone += await _prune_rows(self.db, table, timedelta(days=days))
        return gone + await self._prune_processes(timedelta(days=self.settings.retain_processes_days))

    async def _prune_processes(self, age: timedelta) -> int:
        async with self.db.reading() as conn:
            rows = (await conn.execute(_ended(age, self._after))).mappings().all()
            members = await _members(conn, [row["id"] for row in rows])
        is_full = len(rows) == PROCESSES_AT_ONCE
        self._after = (rows[-1]["finished_at"], rows[-1]["id"]) if is_full else None
        ids = [row["id"] for row in rows]
        forgotten, is_away = await _forget_runs(ids, members, self.runs, self.deleter) if rows else ([], False)
        if is_away:
            async with self.db.reading() as conn:
                forgotten += (await conn.execute(_ended(age).where(~_IS_LAUNCHED))).scalars()
        gone = await _delete(self.db, age, set(forgotten)) if forgotten else 0
        # Where nothing could go the next ones may, unless for all of them Dagster would be asked in vain.
        return gone or int(is_full and not is_away)


async def _prune_rows(db: Database, table: Table, age: timedelta) -> int:
    key = list(table.primary_key.columns)
    picked = select(*key).where(table.c.created_at < func.now() - age).limit(BATCH).subquery()
    is_picked = [table.c[column.name] == picked.c[column.name] for column in key]
    async with db.transaction() as conn:
        return (await conn.execute(delete(table).where(*is_picked))).rowcount


async def _delete(db: Database, age: timedelta, wanted: Collection[UUID]) -> int:
    async with db.transaction() as conn:
        again = _ended(age).where(processes.c.id.in_(wanted)).with_for_update(skip_locked=True, of=processes)
        locked = {row["id"] for row in (await conn.execute(again)).mappings()}
        # A callback may have been asked for until the lock was ours; what asks for one takes it too.
        waiting = select(deliveries.c.process_id).where(deliveries.c.process_id.in_(locked), _IS_PENDING)
        ids = locked - set((await conn.execute(waiting)).scalars())
        await keep_pruned(conn, ids)
        for table in _CHILDREN:
            await conn.execute(delete(table).where(table.c.process_id.in_(ids)))
        await conn.execute(delete(processes).where(processes.c.id.in_(ids)))
    log.info("retention.processes", count=len(ids))
    return len(ids)


def _ended(age: timedelta, after: tuple[datetime, UUID] | None = None) -> Select[Any]:
    """Select what may go, oldest first: its id and when it ended."""
    is_old = processes.c.finished_at < func.now() - age
    waits = exists().where(deliveries.c.process_id == processes.c.id, _IS_PENDING)
    mine, others, other = launches.alias("mine"), launches.alias("others"), processes.alias("other")
    shares = (
        select(literal(1))
        .select_from(mine.join(others, others.c.launch_id == mine.c.launch_id))
        .join(other, other.c.id == others.c.process_id)
        .where(mine.c.process_id == processes.c.id)
        .where(or_(other.c.finished_at.is_(None), other.c.finished_at >= func.now() - age))
        .correlate(processes)
        .exists()
    )
    oldest = select(processes.c.id, processes.c.finished_at).where(is_old, ~waits, ~shares)
    if after is not None:
        place = tuple_(literal(after[0]), literal(after[1]))
        oldest = oldest.where(tuple_(processes.c.finished_at, processes.c.id) > place)
    return oldest.order_by(processes.c.finished_at, processes.c.id).limit(PROCESSES_AT_ONCE)


async def _members(conn: AsyncConnection, process_ids: Sequence[UUID]) -> dict[UUID, list[RowMapping]]:
    """Return each launch of these processes with all processes that it computes, also those that are not among them."""
    wanted = select(launches.c.launch_id).where(launches.c.process_id.in_(process_ids))
    columns = [processes.c[name] for name in ("id", "state", "run_id", "entity_id", "data_version", "dataset")]
    query = select(launches.c.launch_id, *columns).join(processes, processes.c.id == launches.c.process_id)
    members: dict[UUID, list[RowMapping]] = {}
    for row in (await conn.execute(query.where(launches.c.launch_id.in_(wanted)))).mappings():
        members.setdefault(row["launch_id"], []).append(row)
    return members


async def _forget_runs(
    process_ids: Sequence[UUID],
    members: Mapping[UUID, Sequence[RowMapping]],
    runs: AllRuns | None,
    deleter: RunDeleter,
) -> tuple[list[UUID], bool]:
    """Return those of ``process_ids`` whose runs, of every attempt, are gone from Dagster or were never there.

    And whether Dagster did not answer. ``members``: launch → its processes. An operator may have run
    a launch again: while one of its runs is alive, all of them stay.
    """
    if runs is None:
        return list(process_ids), False
    try:
        found = await runs.all_runs_of_launches(list(members)) if members else {}
    except DagsterRunsUnavailableError:
        return [], True  # the reader has raised the alert
    kept: set[UUID] = set()
    is_away, until = False, monotonic() + STEP_SECONDS
    for launch_id, launched in found.items():
        rows = members[launch_id]
        # Who does not answer is not asked for the others, nor who takes too long.
        if is_away or monotonic() > until or any(run.status in _ALIVE for run in launched):
            kept.update(row["id"] for row in rows)
            continue
        try:
            await _forget(rows, launched, deleter)
        except DagsterGraphQLError as error:
            log.warning("retention.runs_kept", launch_id=str(launch_id), error=str(error))
            kept.update(row["id"] for row in rows)
            is_away = not isinstance(error, DagsterRefusedError)
    return [process_id for process_id in process_ids if process_id not in kept], is_away


async def _forget(rows: Sequence[RowMapping], launched: Sequence[RunStatus], deleter: RunDeleter) -> None:
    for row in rows:
        if row["state"] == State.SUCCEEDED:
            description = f"Published by run {row['run_id']}, which is no longer kept."
            await deleter.report_materialization(row["dataset"], partition_key(row), description)
    for run in launched:
        await deleter.delete_run(run.run_id)
