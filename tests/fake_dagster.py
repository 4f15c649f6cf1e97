"""Dagster as the worker sees it: runs by launch, and materializations it was told of."""

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from contracts.messages import RunStatus
from resources.dagster_events import DagsterEventsError
from resources.dagster_runs import DagsterRunsUnavailableError


class FakeRuns:
    """Dagster's run storage; ``is_away`` makes it unreadable."""

    def __init__(self) -> None:
        self.runs: dict[UUID, RunStatus] = {}
        self._by_id: dict[str, RunStatus] = {}
        self.is_away = False

    def add(self, launch_id: UUID, status: str, run_id: str = "run-1") -> None:
        now = datetime.now(UTC)
        run = RunStatus(run_id=run_id, status=status, started_at=now, ended_at=now, url="http://ui/r")
        self.runs[launch_id] = self._by_id[run_id] = run

    async def runs_of_launches(self, launch_ids: Collection[UUID]) -> dict[UUID, RunStatus]:
        self._answer()
        return {launch_id: self.runs[launch_id] for launch_id in launch_ids if launch_id in self.runs}

    async def runs_of_ids(self, run_ids: Collection[str]) -> dict[str, RunStatus]:
        self._answer()
        return {run_id: self._by_id[run_id] for run_id in run_ids if run_id in self._by_id}

    async def dead_since(self, moment: datetime) -> list[tuple[UUID, RunStatus]]:
        self._answer()
        dead = {"FAILURE", "CANCELED"}
        return [(launch, run) for launch, run in self.runs.items() if run.status in dead and moment < datetime.now(UTC)]

    def _answer(self) -> None:
        if self.is_away:
            raise DagsterRunsUnavailableError("away")


class FakeEvents:
    """The webserver's mutation; ``is_away`` makes it fail."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.is_away = False

    async def report_materialization(self, asset: str, partition_key: str, description: str) -> None:
        if self.is_away:
            raise DagsterEventsError(f"away: {description}")
        self.told.append((asset, partition_key))
