"""The watch over run pods that have not started: a new reason is told once, and nothing once the pod runs."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import dagster as dg
import pytest

from contracts.reasons import Reason, ReasonCode
from orchestration.start_watch import StartWatch
from resources.cluster.port import Pod
from tests.memory_cluster import MemoryCluster

JOB = "dagster-run-1"
PENDING = Pod("run-1", "Pending", "compute:9", unschedulable="0/1 nodes are available: 1 Insufficient memory.")


class Requesters:
    """Keeps what they are told, by run."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Reason]] = []

    def tell(self, run: dg.DagsterRun, reason: Reason) -> None:
        self.told.append((run.run_id, reason))

    @property
    def codes(self) -> list[ReasonCode]:
        return [reason.code for _, reason in self.told]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def requesters() -> Requesters:
    return Requesters()


def watch(cluster: MemoryCluster, requesters: Requesters, *, poll_seconds: float = 3600) -> StartWatch:
    found = StartWatch(cluster, "run pod", requesters.tell, poll_seconds=poll_seconds)
    found.add(JOB, dg.DagsterRun(job_name="action", run_id="1"))
    return found


def watching() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "start-watch"}


def wait_for(probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_why_a_pod_waits_is_told_once_until_it_changes(cluster: MemoryCluster, requesters: Requesters) -> None:
    cluster.start(JOB, PENDING)
    found = watch(cluster, requesters)
    found.look()
    found.look()
    ((run_id, reason),) = requesters.told
    assert (run_id, reason.code) == ("1", ReasonCode.POD_PENDING)
    assert "1 Insufficient memory" in reason.message
    cluster.add(replace(PENDING, unschedulable=None, waiting="ImagePullBackOff"), job_name=JOB)
    found.look()
    assert requesters.codes == [ReasonCode.POD_PENDING, ReasonCode.IMAGE_UNAVAILABLE]


def test_a_job_that_may_make_no_pod_is_told_with_the_cluster_s_complaint(
    cluster: MemoryCluster, requesters: Requesters
) -> None:
    cluster.is_full = True
    cluster.start(JOB)
    watch(cluster, requesters).look()
    assert requesters.codes == [ReasonCode.QUOTA_EXCEEDED]


@pytest.mark.parametrize("phase", ["Running", "Failed", "Succeeded"])
def test_a_pod_that_has_started_is_watched_no_more(cluster: MemoryCluster, requesters: Requesters, phase: str) -> None:
    cluster.start(JOB, Pod("run-1", phase, "compute:9"))
    found = watch(cluster, requesters)
    found.look()
    cluster.add(PENDING, job_name=JOB)
    found.look()
    assert requesters.told == []


def test_a_job_that_is_gone_is_watched_no_more(cluster: MemoryCluster, requesters: Requesters) -> None:
    found = watch(cluster, requesters)
    found.look()
    cluster.start(JOB, PENDING)
    found.look()
    assert requesters.told == []


def test_a_silent_cluster_is_asked_again(cluster: MemoryCluster, requesters: Requesters) -> None:
    cluster.start(JOB, PENDING)
    cluster.is_silent = True
    found = watch(cluster, requesters)
    found.look()
    cluster.is_silent = False
    found.look()
    assert requesters.codes == [ReasonCode.POD_PENDING]


def test_it_looks_by_itself_and_begins_anew_after_it_had_nothing_to_do(
    cluster: MemoryCluster, requesters: Requesters
) -> None:
    cluster.start(JOB, PENDING)
    before = watching()
    found = watch(cluster, requesters, poll_seconds=0.01)
    wait_for(lambda: len(requesters.told) == 1)
    cluster.delete_job(JOB)
    wait_for(lambda: watching() <= before)
    cluster.start(JOB, PENDING)
    found.add(JOB, dg.DagsterRun(job_name="action", run_id="2"))
    wait_for(lambda: [run_id for run_id, _ in requesters.told] == ["1", "2"])
    cluster.delete_job(JOB)
    wait_for(lambda: watching() <= before)
