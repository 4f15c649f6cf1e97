"""The Kubernetes cluster as the compute plane knows it: a port of six verbs, and what may be told of a pod.

Without the Kubernetes client, so that it costs nothing to import; ``kubernetes`` is the real one.

ClusterError
├── ClusterUnavailableError   the API server does not answer, or answers 5xx (retriable)
├── ClusterRefusedError       it refuses: permissions, quota, admission
│   └── ImpersonationError    we may not ask on behalf of another account
└── ClusterAbsentError        this process is in no pod and has no kubeconfig
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from contracts.problems import LakemillError


class ClusterError(LakemillError):
    """The root of the cluster's errors."""


class ClusterUnavailableError(ClusterError):
    """The API server does not answer. What runs goes on; nothing can be started, and nothing concluded."""

    retriable = True


class ClusterRefusedError(ClusterError):
    """The API server refuses the call; the message is its own."""


class ImpersonationError(ClusterRefusedError):
    """We may not act as the account that is asked about."""


class ClusterAbsentError(ClusterError):
    """There is no API server to ask from here: no token of a pod, and no kubeconfig."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is told of one Job."""

    name: str
    failure: str | None = None
    """Why the cluster gave it up, such as ``DeadlineExceeded``."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What is told of one pod, as far as it matters for why it does not do its work."""

    name: str
    phase: str
    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    job: str | None = None
    """The Job that made it."""
    node: str | None = None
    reason: str | None = None
    """The pod's own reason, such as ``Evicted``."""
    message: str = ""
    running_since: datetime | None = None
    """When its container was started, if it runs."""
    waiting: str | None = None
    """Why its container has not started, such as ``ImagePullBackOff``."""
    waiting_message: str = ""
    terminated: str | None = None
    """Why its container has ended, such as ``OOMKilled``."""
    exit_code: int | None = None
    unschedulable: str | None = None
    """Why no node takes it."""
    disruption: str | None = None
    """Why the cluster took it away: the reason of its condition ``DisruptionTarget``."""
    disruption_message: str = ""


class Cluster(Protocol):
    """One namespace. Every call raises ClusterUnavailableError or ClusterRefusedError."""

    def pod(self, name: str) -> Pod | None:
        """Return one pod, or None when there is none."""

    def pods(self, labels: str) -> list[Pod]:
        """Return the pods that a label selector (``a=b,c=d``) finds."""

    def job(self, name: str) -> Job | None:
        """Return one Job, or None when there is none."""

    def complaints(self, kind: str, name: str) -> list[str]:
        """Return the warnings that the cluster's own parts have raised about one object, the newest last.

        Each begins with its reason, such as ``FailedCreate: ``.
        """

    def try_pod(self, manifest: dict[str, Any]) -> None:
        """Let the API server judge a pod without creating it. Raises ClusterRefusedError with what it would say."""

    def delete_job(self, name: str) -> None:
        """Delete a Job with its pods, and so the executors that its run pod owns; no error when it is gone."""
