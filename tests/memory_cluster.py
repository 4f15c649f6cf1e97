"""One namespace in memory: pods, Jobs, what the cluster complains of, and a quota that may be full."""

from typing import Any

from resources.cluster.port import ClusterRefusedError, ClusterUnavailableError, Job, Pod

QUOTA = "exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0"


class MemoryCluster:
    """Holds what a test puts into it. ``is_full`` makes its quota refuse every pod; ``is_silent`` every call fail."""

    def __init__(self) -> None:
        self.is_full = False
        self.is_silent = False
        self.deleted: list[str] = []
        """The Jobs that were to be deleted, there or not."""
        self.tried: list[dict[str, Any]] = []
        self._pods: dict[str, tuple[Pod, dict[str, str]]] = {}
        self._jobs: dict[str, Job] = {}
        self._warnings: dict[tuple[str, str], list[str]] = {}

    def add(self, pod: Pod, **labels: str) -> None:
        """Add a pod, or change it; ``_`` in a label's name stands for ``-``."""
        self._pods[pod.name] = pod, {name.replace("_", "-"): value for name, value in labels.items()}

    def start(self, job: str, pod: Pod | None = None) -> None:
        """Make a Job with its pod: none when the quota is full."""
        self._jobs[job] = Job(job)
        if self.is_full:
            self.warn("Job", job, f'FailedCreate: Error creating: pods "{job}" is forbidden: {QUOTA}')
        elif pod is not None:
            self.add(pod, job_name=job)

    def give_up(self, job: str, why: str) -> None:
        """End a Job for a reason of the cluster's own."""
        self._jobs[job] = Job(job, why)

    def warn(self, kind: str, name: str, message: str) -> None:
        self._warnings.setdefault((kind, name), []).append(message)

    def pod(self, name: str) -> Pod | None:
        self._answer()
        return self._pods[name][0] if name in self._pods else None

    def pods(self, labels: str) -> list[Pod]:
        self._answer()
        wanted = dict(pair.split("=") for pair in labels.split(",") if pair)
        return [pod for pod, found in self._pods.values() if found.items() >= wanted.items()]

    def job(self, name: str) -> Job | None:
        self._answer()
        return self._jobs.get(name)

    def complaints(self, kind: str, name: str) -> list[str]:
        self._answer()
        return self._warnings.get((kind, name), [])

    def try_pod(self, manifest: dict[str, Any]) -> None:
        self._answer()
        self.tried.append(manifest)
        if not manifest["spec"].get("securityContext", {}).get("runAsNonRoot"):
            raise ClusterRefusedError('pods "probe" is forbidden: violates PodSecurity "restricted:latest"')
        if self.is_full:
            raise ClusterRefusedError(f'pods "probe" is forbidden: {QUOTA}')

    def delete_job(self, name: str) -> None:
        self._answer()
        self.deleted.append(name)
        self._jobs.pop(name, None)
        for pod in self.pods(f"job-name={name}"):
            del self._pods[pod.name]

    def _answer(self) -> None:
        if self.is_silent:
            raise ClusterUnavailableError("the Kubernetes API server does not answer (on purpose)")
