"""Runs that nobody waits for any more: Dagster is asked to end those of cancelled and expired processes.

It only saves what they would go on using. That nothing of theirs is published rests on the gates, which are closed.
"""

from collections.abc import Collection
from datetime import timedelta
from random import shuffle
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Select, func, select

from contracts.states import ACTIVE, State
from contracts.views import RunStatus
from control.loops import STEP_SECONDS
from control.tables import launches, processes
from resources.dagster.graphql import DagsterGraphQLError, DagsterRefusedError
from resources.dagster.runs import OVER, DagsterRunsUnavailableError, RunState
from resources.database import Database

log = structlog.get_logger(__name__)

LOOK_BACK = timedelta(hours=1)
_BATCH = 500
_ACTIVE = [state.value for state in ACTIVE]
_ENDED_EARLY = [State.CANCELLED.value, State.EXPIRED.value]
_LEFT_ALONE = OVER | {RunState.CANCELING}


class RunsByLaunch(Protocol):
    """``resources.dagster.runs.DagsterRuns`` is one."""

    async def runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, RunStatus]:
        """Return the runs of those launches that have one. Raises DagsterRunsUnavailableError."""
        ...


class RunEnder(Protocol):
    """``resources.dagster.graphql.DagsterGraphQL`` is one."""

    async def terminate(self, run_id: str) -> None:
        """Let Dagster end a run. Raises DagsterGraphQLError."""
        ...


async def end_unwanted_runs(db: Database, runs: RunsByLaunch, ender: RunEnder) -> int:
    """Ask for the end of each run all of whose processes ended early in the last hour; returns how many it was.

    Best effort: what Dagster does not do now is asked for again by the next call. Raises DatabaseUnavailableError.
    """
    async with db.reading() as conn:
        launch_ids = (await conn.execute(_unwanted())).scalars().all()
    try:
        found = await runs.runs_of_launches(launch_ids) if launch_ids else {}
    except DagsterRunsUnavailableError:
        return 0  # the reader has raised the alert
    alive = [run for run in found.values() if run.status not in _LEFT_ALONE]
    # By chance, so that some that take long do not keep the others from their turn for ever.
    shuffle(alive)
    ended, until = 0, monotonic() + STEP_SECONDS
    for asked, run in enumerate(alive):
        if asked and monotonic() > until:
            break
        try:
            await ender.terminate(run.run_id)
        except DagsterRefusedError as error:
            log.warning("run.not_ended", run_id=run.run_id, error=str(error))
            continue
        except DagsterGraphQLError as error:  # who does not answer is not asked for the others
            log.warning("runs.not_ended", waiting=len(alive) - ended, error=str(error))
            break
        ended += 1
        log.info("run.ended", run_id=run.run_id, was=run.status)
    return ended


def _unwanted() -> Select[Any]:
    """Select the launches of what ended early; never one that a process which has not ended shares."""
    shared, other = launches.alias("shared"), processes.alias("other")
    still_wanted = (
        select(shared.c.launch_id)
        .join(other, (other.c.id == shared.c.process_id) & (other.c.attempt == shared.c.attempt))
        .where(shared.c.launch_id == processes.c.launch_id, other.c.state.in_(_ACTIVE))
    )
    return (
        select(processes.c.launch_id)
        .where(processes.c.state.in_(_ENDED_EARLY), processes.c.finished_at > func.now() - LOOK_BACK)
        .where(processes.c.launch_id.is_not(None), ~still_wanted.exists())
        .order_by(processes.c.finished_at.desc())
        .limit(_BATCH)
    )
