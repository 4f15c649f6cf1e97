"""Watches run pods until they have started, so that a requester hears at once why one has to wait.

Dagster itself looks at a starting run only when its time is over. What a daemon that died was watching is not watched
again: such a run still ends, with its reason, at the start timeout.
"""

import time
from collections.abc import Callable
from threading import Lock, Thread

import structlog
from dagster import DagsterRun

from assets.running.pod_failures import reason_of_complaints, reason_of_pods
from contracts.reasons import Reason, ReasonCode
from resources.cluster.port import Cluster, ClusterError

log = structlog.get_logger(__name__)

_POLL_SECONDS = 10.0

Tell = Callable[[DagsterRun, Reason], None]
"""Tell the requesters of a run why its pod has not started."""


class StartWatch:
    """Looks at the pods of the runs that were added, until each has started or is gone; a new reason is told once."""

    def __init__(self, cluster: Cluster, role: str, tell: Tell, *, poll_seconds: float = _POLL_SECONDS) -> None:
        """Watch nothing yet. ``role`` is what a pod is called in sentences."""
        self._cluster = cluster
        self._role = role
        self._tell = tell
        self._poll_seconds = poll_seconds
        self._lock = Lock()
        self._runs: dict[str, tuple[DagsterRun, ReasonCode | None]] = {}
        """Job name → its run, and what was told of it last: the words for one cause change to and fro."""
        self._thread: Thread | None = None

    def add(self, job: str, run: DagsterRun) -> None:
        """Watch the pod of ``job``."""
        with self._lock:
            self._runs[job] = (run, None)
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._watch, name="start-watch", daemon=True)
                self._thread.start()

    def look(self) -> None:
        """Look at each of them once. What a silent cluster does not tell is asked again."""
        for job, (run, told) in tuple(self._runs.items()):
            try:
                is_starting, reason = self._state_of(job)
            except ClusterError as error:
                log.debug("start_watch.silence", error=str(error))
                return
            if not is_starting:
                with self._lock:
                    del self._runs[job]
            elif reason is not None and reason.code != told:
                self._tell(run, reason)
                self._runs[job] = (run, reason.code)

    def _watch(self) -> None:
        while True:
            time.sleep(self._poll_seconds)
            self.look()
            with self._lock:
                if not self._runs:
                    self._thread = None
                    return

    def _state_of(self, job: str) -> tuple[bool, Reason | None]:
        """Return whether the pod may still start, and what the cluster has against it."""
        pods = self._cluster.pods(f"job-name={job}")
        if not pods:
            complaints = self._cluster.complaints("Job", job)
            return self._cluster.job(job) is not None, reason_of_complaints(complaints, self._role)
        return all(pod.phase == "Pending" for pod in pods), reason_of_pods(pods, self._role)
