"""The Kubernetes API as the doctor asks it: who we are, what an account may do, whether an image starts.

Without the client, which the control image has not; ``kubernetes_review`` is the real one. Errors: see ``port``.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """One verb on one resource of the namespace; ``resource`` may be ``pods/log``."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


@dataclass(frozen=True, slots=True)
class PodModel:
    """What a pod of the release says about where pods may run, and from which image."""

    image: str
    spec: dict[str, Any]
    """``imagePullSecrets``, ``nodeSelector``, ``tolerations``, ``affinity``: those that it has."""


@dataclass(frozen=True, slots=True)
class ShortPod:
    """What to run. ``spec`` are fields of the pod's spec beside its container."""

    image: str
    args: tuple[str, ...]
    account: str | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    seconds: float = 200.0
    """How long it may take, pulling included: a node may pull several images one after the other."""


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How it ended: an exit code, or a sentence about why there is none."""

    exit_code: int | None
    log: str = ""
    problem: str = ""


class ClusterReview(Protocol):
    """What the doctor asks; ``KubernetesReview`` is one."""

    @property
    def namespace(self) -> str:
        """Where the release is."""

    def user(self) -> str:
        """Return who we are to the API server. Raises ClusterError."""

    def version(self) -> str:
        """Return the API server's version. Raises ClusterError."""

    def may(self, access: Access, account: str | None = None) -> bool:
        """Whether we, or a service account of the namespace, may do that. Raises ImpersonationError, ClusterError."""

    def model(self, account: str) -> PodModel | None:
        """Return what a pod of that service account looks like; None without one. Raises ClusterError."""

    def run(self, pod: ShortPod) -> PodEnd:
        """Run a pod to its end, and remove it whatever happens. Raises ClusterError."""
