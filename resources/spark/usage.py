"""What a Spark session has used: cores, processor time, the highest heap, in the driver and in its executors."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CGROUP = Path("/sys/fs/cgroup")


def usage_of(session: "SparkSession") -> dict[str, float]:
    """Return what was used so far; nothing when Spark itself is gone.

    Of the driver's JVM: the sum of its heap pools' peaks in bytes, processor seconds (Linux), garbage collection in
    seconds. Of executors that are processes of their own, dead ones included: how many, their cores, task and garbage
    collection seconds, and the highest heap of any one, as far as their heartbeats told it.
    """
    from py4j.protocol import Py4JError  # noqa: PLC0415 - only runs need Spark

    context: Any = session.sparkContext
    try:
        return _driver(context) | _executors(list(executors_of(context)))
    except (Py4JError, OSError):
        return {}


def _driver(context: Any) -> dict[str, float]:
    factory = context._jvm.java.lang.management.ManagementFactory
    heap = [pool for pool in factory.getMemoryPoolMXBeans() if str(pool.getType().name()) == "HEAP"]
    found: dict[str, float] = {
        "driver_peak_heap_bytes": sum(pool.getPeakUsage().getUsed() for pool in heap),
        "driver_gc_seconds": sum(gc.getCollectionTime() for gc in factory.getGarbageCollectorMXBeans()) / 1e3,
    }
    statistics = Path(f"/proc/{context._gateway.proc.pid}/stat")
    if statistics.exists():
        user, system = statistics.read_text().rpartition(")")[2].split()[11:13]
        found["driver_cpu_seconds"] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return found


def pod_peak() -> dict[str, float]:
    """Return the most memory in bytes that the pod of this process has used, all its processes together."""
    for name in ("memory.peak", "memory/memory.max_usage_in_bytes"):  # of cgroups version 2, and of version 1
        file = _CGROUP / name
        if file.exists():
            return {"driver_pod_peak_bytes": float(file.read_text())}
    return {}


def executors_of(context: Any) -> Iterator[Any]:
    """Yield Spark's ``ExecutorSummary`` of each executor that is a process of its own, dead ones too."""
    listed = context._jsc.sc().statusStore().executorList(False)
    for place in range(listed.size()):
        summary = listed.apply(place)
        if summary.id() != "driver":
            yield summary


def _executors(summaries: list[Any]) -> dict[str, float]:
    if not summaries:
        return {}
    return {
        "executors": len(summaries),
        "executor_cores": sum(summary.totalCores() for summary in summaries),
        "executor_task_seconds": sum(summary.totalDuration() for summary in summaries) / 1e3,
        "executor_gc_seconds": sum(summary.totalGCTime() for summary in summaries) / 1e3,
        "executor_peak_heap_bytes": max(_peak_heap(summary) for summary in summaries),
    }


def _peak_heap(summary: Any) -> float:
    peaks = summary.peakMemoryMetrics()
    return float(peaks.get().getMetricValue("JVMHeapMemory")) if peaks.isDefined() else 0.0
