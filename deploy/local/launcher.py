"""Dagster's own launcher for one machine, with one thing added: run monitoring learns whether a run's process lives.

Dagster leaves that to a thread of the code server, and that thread ends for good when it cannot reach the database as
it reports a dead run. Then the run would be in progress for ever, and keep its place in the run queue.
"""

import psutil
from dagster import DagsterEventType, DagsterRun
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

_CLOCK_SECONDS = 1.0  # the process is older than the event that names it; their clocks round differently


class EmbeddedRunLauncher(DefaultRunLauncher):
    """Runs are processes of this machine; each has noted its process id as it began."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Say whether the process of a started run lives."""
        found = self._process_of(run)
        if found is None or not _lives(*found):
            return CheckRunHealthResult(WorkerStatus.FAILED, "the process of the run is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _process_of(self, run: DagsterRun) -> tuple[int, float] | None:
        """Return the run's process id, and when it was noted (Unix seconds)."""
        for entry in self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
            metadata = entry.get_dagster_event().engine_event_data.metadata
            if pid := metadata.get("pid"):
                return int(str(pid.value)), entry.timestamp
        return None


def _lives(pid: int, noted_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        is_it = float(process.create_time()) <= noted_at + _CLOCK_SECONDS  # ids are used again
        return is_it and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
