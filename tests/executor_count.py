"""What a run asks of a Spark session about executors: how many have registered, and to end its jobs."""

from pathlib import Path
from threading import Event
from typing import Any

EXECUTOR_TEMPLATE = Path(__file__).parent / "executor-template.yaml"


class ExecutorCount:
    """A session with a number of registered executors: it is its own context, status and Scala map."""

    applicationId = "spark-1"  # noqa: N815 - Spark's own name

    def __init__(self) -> None:
        self.registered = 0
        self.has_jobs = True
        self.cancelled = Event()
        """Set once all jobs were cancelled."""

    @property
    def sparkContext(self) -> Any:  # noqa: N802 - Spark's own name
        return self

    _jsc = sparkContext

    def sc(self) -> "ExecutorCount":
        return self

    def getExecutorMemoryStatus(self) -> "ExecutorCount":  # noqa: N802 - Spark's own name
        return self

    def cancelAllJobs(self) -> None:  # noqa: N802 - Spark's own name
        self.cancelled.set()

    def statusTracker(self) -> "ExecutorCount":  # noqa: N802 - Spark's own name
        return self

    def getActiveJobsIds(self) -> list[int]:  # noqa: N802 - Spark's own name
        return [7] if self.has_jobs else []

    def size(self) -> int:
        return self.registered + 1  # the driver
