"""The Kubernetes cluster, through a port of six verbs. This is the only module that speaks its API.

ClusterError
├── ClusterUnavailableError   the API server does not answer, or answers 5xx (retriable)
└── ClusterRefusedError       it refuses: permissions, quota, admission
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from kubernetes import config
from kubernetes.client import ApiClient, ApiException, BatchV1Api, Configuration, CoreV1Api
from urllib3.exceptions import HTTPError

from contracts.problems import LakemillError

TIMEOUT = (3, 10)
"""Seconds to connect, and to wait for an answer; each call is tried twice."""
_Answer = TypeVar("_Answer")


class ClusterError(LakemillError):
    """The root of the cluster's errors."""


class ClusterUnavailableError(ClusterError):
    """The API server does not answer. What runs goes on; nothing can be started, and nothing concluded."""

    retriable = True


class ClusterRefusedError(ClusterError):
    """The API server refuses the call; the message is its own."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What is told of one pod, as far as it matters for why it does not do its work."""

    name: str
    phase: str
    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    node: str | None = None
    reason: str | None = None
    """The pod's own reason, such as ``Evicted``."""
    message: str = ""
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

    def has_job(self, name: str) -> bool:
        """Return whether the Job exists."""

    def complaints(self, kind: str, name: str) -> list[str]:
        """Return the warnings that the cluster's own parts have raised about one object, the newest last."""

    def try_pod(self, manifest: dict[str, Any]) -> None:
        """Let the API server judge a pod without creating it. Raises ClusterRefusedError with what it would say."""

    def delete_job(self, name: str) -> None:
        """Delete a Job with its pods, and so the executors that its run pod owns; no error when it is gone."""


class KubernetesCluster:
    """The cluster that this process runs in, or that KUBECONFIG names. Connects at the first call."""

    def __init__(self, namespace: str, timeout: tuple[float, float] = TIMEOUT) -> None:
        self._namespace = namespace
        self._limits = {"_request_timeout": timeout}

    def pod(self, name: str) -> Pod | None:
        """See Cluster."""
        found = _or_none(lambda: self._core.read_namespaced_pod(name, self._namespace, **self._limits))
        return _pod(found) if found else None

    def pods(self, labels: str) -> list[Pod]:
        """See Cluster."""
        with _answering():
            found = self._core.list_namespaced_pod(self._namespace, label_selector=labels, **self._limits)
        return [_pod(item) for item in found.items]

    def has_job(self, name: str) -> bool:
        """See Cluster."""
        read = self._batch.read_namespaced_job_status
        return _or_none(lambda: read(name, self._namespace, **self._limits)) is not None

    def complaints(self, kind: str, name: str) -> list[str]:
        """See Cluster."""
        fields = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
        with _answering():
            found = self._core.list_namespaced_event(self._namespace, field_selector=fields, **self._limits)
        return [event.message or "" for event in sorted(found.items, key=_when)]

    def try_pod(self, manifest: dict[str, Any]) -> None:
        """See Cluster."""
        with _answering():
            self._core.create_namespaced_pod(self._namespace, manifest, dry_run="All", **self._limits)

    def delete_job(self, name: str) -> None:
        """See Cluster."""
        how = {"propagation_policy": "Background", **self._limits}
        _or_none(lambda: self._batch.delete_namespaced_job(name, self._namespace, **how))

    @cached_property
    def _core(self) -> CoreV1Api:
        return CoreV1Api(self._api)

    @cached_property
    def _batch(self) -> BatchV1Api:
        return BatchV1Api(self._api)

    @cached_property
    def _api(self) -> ApiClient:
        settings = Configuration()
        try:
            config.load_incluster_config(settings)
        except config.ConfigException:
            config.load_kube_config(client_configuration=settings)
        settings.retries = 1  # for a connection that has died meanwhile; urllib3's own three would take minutes
        return ApiClient(settings)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (ApiException, HTTPError) as error:
        raise cluster_error(error) from error


def _or_none(call: Callable[[], _Answer]) -> _Answer | None:
    """Return what the API answers, None when it knows no such object."""
    with _answering():
        try:
            return call()
        except ApiException as error:
            if error.status == 404:
                return None
            raise


def cluster_error(error: BaseException) -> ClusterError:
    """Translate what the Kubernetes client raised."""
    status, text = getattr(error, "status", None), _said(error)
    if isinstance(status, int) and 400 <= status < 500 and status != 429:
        return ClusterRefusedError(text)
    return ClusterUnavailableError(f"the Kubernetes API server does not answer ({text})")


def _said(error: BaseException) -> str:
    """Return the API server's own sentence, or the client's."""
    try:
        return str(json.loads(getattr(error, "body", None) or "{}")["message"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _pod(found: Any) -> Pod:
    status, container = found.status, found.spec.containers[0]
    state = next((each.state for each in status.container_statuses or () if each.name == container.name), None)
    waiting, ended = (state.waiting, state.terminated) if state else (None, None)
    conditions = {each.type: each for each in status.conditions or ()}
    scheduled, disrupted = conditions.get("PodScheduled"), conditions.get("DisruptionTarget")
    return Pod(
        name=found.metadata.name,
        phase=status.phase or "Unknown",
        image=container.image,
        pull_policy=container.image_pull_policy or "IfNotPresent",
        pull_secrets=tuple(each.name for each in found.spec.image_pull_secrets or ()),
        node=found.spec.node_name,
        reason=status.reason,
        message=status.message or "",
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
