"""Dagster as the worker sees it: runs by launch, and materializations it was told of."""

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from contracts.views import RunStatus
from resources.dagster.graphql import DagsterGraphQLError, DagsterRefusedError
from resources.dagster.runs import OVER, DagsterRunsUnavailableError, RunState

_DEAD = {RunState.FAILURE, RunState.CANCELED}
_NOT_BEGUN = {RunState.NOT_STARTED, RunState.QUEUED, RunState.STARTING}


class FakeRuns:
    """Dagster's run storage; ``is_away`` makes it unreadable."""

    def __init__(self) -> None:
        self._runs: dict[tuple[UUID, str], RunStatus] = {}  # in the order of their creation
        self.is_away = False

    def add(self, launch_id: UUID, status: str, run_id: str = "run-1", *, ended_at: datetime | None = None) -> None:
        """Add a run, or change its status. What is over has ended at ``ended_at``, or else now."""
        end = (ended_at or datetime.now(UTC)) if status in OVER else None
        start = None if status in _NOT_BEGUN else end or datetime.now(UTC)
        run = RunStatus(run_id=run_id, status=status, started_at=start, ended_at=end, url="http://ui/r")
        self._runs[launch_id, run_id] = run

    @property
    def known(self) -> list[tuple[UUID, str]]:
        """Launch and id of every run, in the order of their creation."""
        return list(self._runs)

    async def runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, RunStatus]:
        return {launch: runs[-1] for launch, runs in (await self.all_runs_of_launches(launch_ids)).items()}

    async def all_runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, list[RunStatus]]:
        self._answer()
        found: dict[UUID, list[RunStatus]] = {}
        for (launch, _), run in sorted(self._runs.items(), key=lambda item: item[1].status != RunState.NOT_STARTED):
            if launch in launch_ids:
                found.setdefault(launch, []).append(run)
        return found

    async def runs_of_ids(self, run_ids: Collection[str]) -> dict[str, RunStatus]:
        self._answer()
        return {run_id: run for (_, run_id), run in self._runs.items() if run_id in run_ids}

    async def dead_since(self, moment: datetime) -> list[tuple[UUID, RunStatus]]:
        self._answer()
        ended = [(run.ended_at, launch, run) for (launch, _), run in self._runs.items() if run.status in _DEAD]
        dead = [(end, launch, run) for end, launch, run in ended if end and end > moment]
        return [(launch, run) for _, launch, run in sorted(dead, key=lambda found: found[0], reverse=True)]

    def _answer(self) -> None:
        if self.is_away:
            raise DagsterRunsUnavailableError("away")


class FakeGraphQL:
    """The webserver's mutations; ``is_away`` makes them fail."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.terminated: list[str] = []
        self.deleted: list[str] = []
        self.is_away = False

    async def report_materialization(self, asset: str, partition_key: str, description: str) -> None:
        if self.is_away:
            raise DagsterGraphQLError(f"away: {description}")
        self.told.append((asset, partition_key))

    async def delete_run(self, run_id: str) -> None:
        if self.is_away:
            raise DagsterGraphQLError("away")
        if run_id in self.deleted:
            raise DagsterRefusedError(f"run {run_id}: not found")
        self.deleted.append(run_id)

    async def terminate(self, run_id: str) -> None:
        if self.is_away:
            raise DagsterGraphQLError("away")
        self.terminated.append(run_id)
