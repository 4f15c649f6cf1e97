"""From what the cluster says of a pod to the reason that the requester reads. Decisions only; asked by the launcher for
run pods, and by a run for its executors.
"""

import re
from collections.abc import Iterable, Sequence

from contracts.reasons import Reason, ReasonCode
from resources.cluster.port import ClusterError, ClusterUnavailableError, Job, Pod

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_UNDER_WAY = frozenset({None, "ContainerCreating", "PodInitializing"})
_NODE = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
_NOT_CREATED = "FailedCreate: "
_QUOTA = re.compile(r"exceeded quota|status unknown for quota")
_DEMANDED = re.compile(r"failed quota: .*must specify")
"""A quota takes only pods that state each field it counts; ours never limit their CPU."""


def reason_of_pod(pod: Pod, role: str) -> Reason | None:
    """Say why ``pod``, called ``role`` in sentences, does not do its work; None when nothing is known against it."""
    return _taken_away(pod, role) or _ended(pod, role) or _not_started(pod, role)


def _taken_away(pod: Pod, role: str) -> Reason | None:
    if pod.disruption in _NODE:
        told = f"the {role} was lost with its node {pod.node or ''} ({pod.disruption_message or pod.disruption})"
        return _reason(ReasonCode.NODE_LOST, f"{told}; nothing to do unless it happens again")
    if pod.reason == "Evicted" or pod.disruption:
        why = pod.message or pod.disruption_message or pod.disruption
        advice = "ask for a larger resource_profile if this happens again, or give these pods a higher priority"
        return _reason(ReasonCode.POD_EVICTED, f"the cluster evicted the {role} ({why}); {advice}")
    return None


def _ended(pod: Pod, role: str) -> Reason | None:
    if pod.terminated == "OOMKilled":
        told = f"the {role} used more memory than it was granted and was killed (exit code {pod.exit_code})"
        return _reason(ReasonCode.OUT_OF_MEMORY, f"{told}; ask for a larger resource_profile")
    if pod.phase in {"Failed", "Succeeded"}:  # whoever asks still waits for it
        code = f" with exit code {pod.exit_code}" if pod.exit_code is not None else ""
        told = f"the {role} {pod.name} ended{code} ({pod.terminated or pod.reason or 'no reason given'})"
        return _reason(ReasonCode.RUN_DIED, f"{told}; its log tells more, if it was kept")
    return None


def _not_started(pod: Pod, role: str) -> Reason | None:
    if pod.waiting in _PULL:
        told = f"the image {pod.image} of the {role} cannot be pulled ({pod.waiting}: {pod.waiting_message})"
        return _reason(ReasonCode.IMAGE_UNAVAILABLE, f"{told}; check its name and tag, and the pull secrets")
    if pod.waiting not in _UNDER_WAY:
        told = f"the {role} cannot start ({pod.waiting}: {pod.waiting_message})"
        return _reason(ReasonCode.POD_REFUSED, f"{told}; an operator has to mend the deployment")
    if pod.unschedulable:
        told = f"no node takes the {role} ({pod.unschedulable})"
        return _reason(ReasonCode.POD_PENDING, f"{told}; ask for a smaller resource_profile, or add nodes")
    return None


def reason_of_job(job: Job | None, role: str) -> Reason | None:
    """Say why the cluster ended a Job and its pod with it; None when it has not, or only because the pod had failed."""
    if job is None or job.failure != "DeadlineExceeded":
        return None
    told = f"the {role} was still at work when its time was over ({job.failure})"
    return _reason(ReasonCode.RUN_TIMED_OUT, f"{told}; ask for a larger resource_profile")


def reason_of_refusal(said: str, role: str) -> Reason:
    """Say why the cluster did not even make the pod; ``said`` is its own sentence."""
    if _QUOTA.search(said):
        advice = "ask for a smaller resource_profile, wait until other runs have ended, or raise the namespace's quota"
        return _reason(
            ReasonCode.QUOTA_EXCEEDED, f"the namespace's quota has no room for the {role} ({said}); {advice}"
        )
    advice = "an operator has to mend that"
    if _DEMANDED.search(said):
        advice = "an operator has to give the namespace a LimitRange with a default, or a quota without that field"
    return _reason(ReasonCode.POD_REFUSED, f"the cluster refuses the {role} ({said}); {advice}")


def reason_of_error(error: ClusterError, role: str) -> Reason:
    """Say why asking the cluster for the pod failed."""
    if isinstance(error, ClusterUnavailableError):
        told = f"the {role} could not be started: {error}"
        return _reason(ReasonCode.CLUSTER_UNAVAILABLE, f"{told}; nothing to do unless it goes on")
    return reason_of_refusal(str(error), role)


def reason_of_pods(pods: Iterable[Pod], role: str) -> Reason | None:
    """Say why none of ``pods`` works; None when nothing is known against any."""
    return next((reason for pod in pods if (reason := reason_of_pod(pod, role))), None)


def reason_of_complaints(complaints: Sequence[str], role: str) -> Reason | None:
    """Say why there is no pod; ``complaints`` are about the Job that should have made it, the newest last."""
    refusals = [said for said in complaints if said.startswith(_NOT_CREATED)]
    return reason_of_refusal(refusals[-1].removeprefix(_NOT_CREATED), role) if refusals else None


def reason_of_silence(seconds: float, role: str, complaints: Sequence[str] = ()) -> Reason:
    """Say that a pod did not start in time. Its state names no cause; ``complaints`` about it may, the newest last."""
    why = f" ({complaints[-1]})" if complaints else ", and its state does not say why"
    return _reason(
        ReasonCode.POD_PENDING,
        f"the {role} did not start within {seconds:.0f} s{why}; an operator has to look at it",
    )


def reason_of_absence(role: str, *, had_started: bool) -> Reason:
    """Say that the pod is gone, or never was."""
    gone = "is gone: somebody deleted it, or its node did"
    never = "was never made, or was deleted before it started; nothing to do unless it happens again"
    return _reason(ReasonCode.RUN_DIED, f"the {role} {gone if had_started else never}")


def _reason(code: ReasonCode, message: str) -> Reason:
    return Reason(code=code, message=message[0].upper() + message[1:])
