"""What a wait for executors reads of a Spark session: how many have registered."""

from typing import Any


class ExecutorCount:
    """A session with a number of registered executors: it is its own context, status and Scala map."""

    applicationId = "spark-1"  # noqa: N815 - Spark's own name

    def __init__(self) -> None:
        self.registered = 0

    @property
    def sparkContext(self) -> Any:  # noqa: N802 - Spark's own name
        return self

    _jsc = sparkContext

    def sc(self) -> "ExecutorCount":
        return self

    def getExecutorMemoryStatus(self) -> "ExecutorCount":  # noqa: N802 - Spark's own name
        return self

    def size(self) -> int:
        return self.registered + 1  # the driver
