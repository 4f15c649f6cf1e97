"""The cluster over the Kubernetes API: see ``port.Cluster``."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from kubernetes.client import ApiClient, ApiException, BatchV1Api, CoreV1Api

from resources.cluster.api import answering, connect
from resources.cluster.port import Job, Pod

_Answer = TypeVar("_Answer")
_OURS = {"dagster", "executor"}  # as dagster-k8s names a run's container, and our template an executor's


class KubernetesCluster:
    """The cluster that this process runs in, or that KUBECONFIG names. Connects at the first call."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def pod(self, name: str) -> Pod | None:
        """See Cluster."""
        found = _or_none(lambda: self._core.read_namespaced_pod(name, self._namespace))
        return pod_of(found) if found else None

    def pods(self, labels: str) -> list[Pod]:
        """See Cluster."""
        with answering():
            found = self._core.list_namespaced_pod(self._namespace, label_selector=labels)
        return [pod_of(item) for item in found.items]

    def job(self, name: str) -> Job | None:
        """See Cluster."""
        found = _or_none(lambda: self._batch.read_namespaced_job(name, self._namespace))
        return _job(found) if found else None

    def complaints(self, kind: str, name: str) -> list[str]:
        """See Cluster."""
        fields = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
        with answering():
            found = self._core.list_namespaced_event(self._namespace, field_selector=fields)
        return [f"{event.reason}: {event.message or ''}" for event in sorted(found.items, key=_when)]

    def try_pod(self, manifest: dict[str, Any]) -> None:
        """See Cluster."""
        with answering():
            self._core.create_namespaced_pod(self._namespace, manifest, dry_run="All")

    def delete_job(self, name: str) -> None:
        """See Cluster."""
        _or_none(lambda: self._batch.delete_namespaced_job(name, self._namespace, propagation_policy="Background"))

    @cached_property
    def _core(self) -> CoreV1Api:
        return CoreV1Api(self._api)

    @cached_property
    def _batch(self) -> BatchV1Api:
        return BatchV1Api(self._api)

    @cached_property
    def _api(self) -> ApiClient:
        return connect()[0]


def _or_none(call: Callable[[], _Answer]) -> _Answer | None:
    """Return what the API answers, None when it knows no such object."""
    with answering():
        try:
            return call()
        except ApiException as error:
            if error.status == 404:
                return None
            raise


def _job(found: Any) -> Job:
    # The first of these comes before its pods are ended, the second after they have.
    given_up = [each for each in found.status.conditions or () if each.type in {"FailureTarget", "Failed"}]
    return Job(found.metadata.name, next((each.reason for each in given_up if each.status == "True"), None))


def pod_of(found: Any) -> Pod:
    """Return what is told of a pod that the API gave."""
    # Beside ours there may be others, which a cluster adds to every pod.
    status, all_of_it = found.status, found.spec.containers
    container = next((each for each in all_of_it if each.name in _OURS), all_of_it[0])
    state = next((each.state for each in status.container_statuses or () if each.name == container.name), None)
    waiting, ended, running = (state.waiting, state.terminated, state.running) if state else (None, None, None)
    conditions = {each.type: each for each in status.conditions or ()}
    scheduled, disrupted = conditions.get("PodScheduled"), conditions.get("DisruptionTarget")
    return Pod(
        name=found.metadata.name,
        phase=status.phase or "Unknown",
        image=container.image,
        pull_policy=container.image_pull_policy or "IfNotPresent",
        pull_secrets=tuple(each.name for each in found.spec.image_pull_secrets or ()),
        job=(found.metadata.labels or {}).get("batch.kubernetes.io/job-name"),
        node=found.spec.node_name,
        reason=status.reason,
        message=status.message or "",
        running_since=running.started_at if running else None,
        waiting=waiting.reason if waiting else None,
        waiting_message=(waiting.message or "") if waiting else "",
        terminated=ended.reason if ended else None,
        exit_code=ended.exit_code if ended else None,
        unschedulable=scheduled.message if scheduled and scheduled.status == "False" else None,
        disruption=disrupted.reason if disrupted and disrupted.status == "True" else None,
        disruption_message=(disrupted.message or "") if disrupted else "",
    )


def _when(event: Any) -> Any:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp
