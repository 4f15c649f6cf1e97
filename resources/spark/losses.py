"""What a Spark session has lost before its time, told in words: executors, or the JVM of its driver."""

from collections.abc import Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

from resources.spark.usage import executors_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_END_SECONDS = 5  # from the end of the JVM's connections to its own
OOM_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Where the kernel counts what it has killed in this container for want of memory (cgroups version 2, 1)."""


def lost_executors_of(session: "SparkSession") -> list[str]:
    """Return why executors were removed, in Spark's words, the last one first; nothing when Spark itself is gone."""
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only runs need Spark

    try:
        gone = [each for each in executors_of(session.sparkContext) if each.removeReason().isDefined()]
        gone.sort(key=lambda each: each.removeTime().get().getTime(), reverse=True)
        return [" ".join(str(each.removeReason().get()).split()) for each in gone]
    except (Py4JError, OSError):
        return []


def lost_driver_of(session: "SparkSession", oom_events: Sequence[Path] = ()) -> str | None:
    """Return how the driver's JVM has ended, if it has; None while it answers.

    The kernel may kill just the JVM for want of memory, and this process lives to tell: see ``OOM_EVENTS``.
    """
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only runs need Spark

    context: Any = session.sparkContext
    try:
        context._jsc.sc().isStopped()
    except (Py4JError, OSError):
        try:
            told = f"has ended with code {context._gateway.proc.wait(_END_SECONDS)}"
        except TimeoutExpired:
            told = "no longer answers"
        why = ", OOMKilled" if any(_has_killed(file) for file in oom_events) else ""
        return f"the JVM of Spark's driver {told}{why}"
    return None


def _has_killed(oom_events: Path) -> bool:
    if not oom_events.exists():
        return False
    counts = dict(line.split() for line in oom_events.read_text().splitlines())
    return int(counts.get("oom_kill", 0)) > 0
