"""One pod that runs a command of an image and is gone again: a Job, so that the launcher's rights are enough.

What keeps it from starting is told in the cluster's own words. Nothing is left: the Job is deleted however it ends, and
ends itself when this process dies before.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from kubernetes import client

from resources.cluster.kubernetes import pod_of
from resources.cluster.port import Pod
from resources.cluster.review import PodEnd, ShortPod

_POLL_SECONDS = 0.5
_NEVER_STARTS = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "StartError",
    "ContainerCannotRun",
}
_USER = 10001


def run_to_its_end(
    api: Any,
    namespace: str,
    pod: ShortPod,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> PodEnd:
    """Create the Job, wait for its pod, delete both. Raises kubernetes' ApiException and urllib3's HTTPError."""
    batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
    name = f"lakemill-doctor-{uuid4().hex[:8]}"
    batch.create_namespaced_job(namespace, job_of(name, pod))
    try:
        deadline = clock() + pod.seconds
        while (end := _look(core, namespace, name)) is None and clock() < deadline:
            sleep(_POLL_SECONDS)
        return end or PodEnd(None, problem=f"nothing after {pod.seconds:.0f} s: {_why(core, namespace, name)}")
    finally:
        batch.delete_namespaced_job(name, namespace, propagation_policy="Background")


def job_of(name: str, pod: ShortPod) -> dict[str, Any]:
    """Return the Job: restricted, without a token, small."""
    labels = {"app.kubernetes.io/managed-by": "lakemill-doctor"}
    container = {
        "name": "doctor",
        "image": pod.image,
        "args": list(pod.args),
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
    }
    spec = {
        **pod.spec,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    if pod.account:
        spec["serviceAccountName"] = pod.account
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(pod.seconds) + 30,
            "ttlSecondsAfterFinished": 60,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _look(core: Any, namespace: str, job: str) -> PodEnd | None:
    """Return the end when there is one."""
    pod = _pod(core, namespace, job)
    if pod is None:
        refusal = _event(core, namespace, job, "FailedCreate")
        return PodEnd(None, problem=f"its pod cannot be created: {refusal}") if refusal else None
    if pod.phase == "Failed" and pod.reason:  # evicted, or refused by its node
        return PodEnd(None, problem=f"{pod.reason}: {pod.message}")
    if (why := pod.waiting or pod.terminated) in _NEVER_STARTS:
        failure = _event(core, namespace, pod.name, "Failed")
        return PodEnd(None, problem=f"{why}: {failure or pod.waiting_message}".rstrip(": "))
    if pod.exit_code is None:
        return None
    problem = f"exit code {pod.exit_code} ({pod.terminated})" if pod.exit_code else ""
    return PodEnd(pod.exit_code, _log(core, namespace, pod.name), problem)


def _why(core: Any, namespace: str, job: str) -> str:
    pod = _pod(core, namespace, job)
    if pod is None:
        return "there is no pod"
    if pod.waiting:
        return f"its container waits: {pod.waiting} {pod.waiting_message}".rstrip()
    return pod.unschedulable or f"its pod is {pod.phase}"


def _pod(core: Any, namespace: str, job: str) -> Pod | None:
    chosen = f"batch.kubernetes.io/job-name={job}"
    found = core.list_namespaced_pod(namespace, label_selector=chosen, limit=1).items
    return pod_of(found[0]) if found else None


def _log(core: Any, namespace: str, pod: str) -> str:
    # As bytes: the client would read a log that is JSON and give back Python's spelling of it.
    answer = core.read_namespaced_pod_log(pod, namespace, _preload_content=False)
    return str(answer.data.decode("utf-8", "replace"))


def _event(core: Any, namespace: str, name: str, reason: str) -> str:
    """Return the first event's message: later ones only say that it is tried again."""
    chosen = f"involvedObject.name={name},reason={reason}"
    try:
        found = core.list_namespaced_event(namespace, field_selector=chosen).items
    except client.ApiException:
        return ""  # not everybody may list events; the pod says less, but enough
    return str(found[0].message) if found else ""
