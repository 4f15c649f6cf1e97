"""From what the cluster says of a pod to the reason in words."""

import pytest

from assets.running.pod_failures import (
    reason_of_absence,
    reason_of_complaints,
    reason_of_error,
    reason_of_job,
    reason_of_pod,
    reason_of_pods,
    reason_of_refusal,
    reason_of_silence,
)
from contracts.reasons import ReasonCode
from resources.cluster.port import ClusterRefusedError, ClusterUnavailableError, Job, Pod

QUOTA = (
    'pods "dagster-run-1" is forbidden: exceeded quota: small, requested: requests.memory=2Gi, '
    "used: requests.memory=0, limited: requests.memory=1Gi"
)


def pod(**facts: object) -> Pod:
    return Pod(**{"name": "run-1", "phase": "Pending", "image": "registry/compute:9", **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        (pod(waiting="ErrImagePull", waiting_message="not found"), ReasonCode.IMAGE_UNAVAILABLE, "registry/compute:9"),
        (pod(waiting="ImagePullBackOff"), ReasonCode.IMAGE_UNAVAILABLE, "pull secrets"),
        (pod(waiting="InvalidImageName"), ReasonCode.IMAGE_UNAVAILABLE, "name and tag"),
        (pod(waiting="CreateContainerConfigError", waiting_message="no secret"), ReasonCode.POD_REFUSED, "no secret"),
        (pod(unschedulable="0/3 nodes: Insufficient memory"), ReasonCode.POD_PENDING, "Insufficient memory"),
        (
            pod(phase="Failed", terminated="OOMKilled", exit_code=137),
            ReasonCode.OUT_OF_MEMORY,
            "larger resource_profile",
        ),
        (pod(phase="Failed", reason="Evicted", message="low on disk"), ReasonCode.POD_EVICTED, "low on disk"),
        (pod(phase="Failed", disruption="PreemptionByScheduler"), ReasonCode.POD_EVICTED, "PreemptionByScheduler"),
        (pod(phase="Failed", disruption="DeletionByTaintManager", node="n-7"), ReasonCode.NODE_LOST, "n-7"),
        (pod(phase="Failed", terminated="Error", exit_code=137), ReasonCode.RUN_DIED, "exit code 137"),
        (pod(phase="Failed"), ReasonCode.RUN_DIED, "no reason given"),
        (pod(phase="Succeeded", terminated="Completed", exit_code=0), ReasonCode.RUN_DIED, "exit code 0"),
    ],
)
def test_each_fault_of_a_pod_has_its_code_and_says_what_to_do(found: Pod, code: ReasonCode, words: str) -> None:
    reason = reason_of_pod(found, "run pod")
    assert reason is not None
    assert reason.code is code
    assert words in reason.message
    assert "run pod" in reason.message
    assert "; " in reason.message  # what is the case; what to do
    assert reason.is_retriable


@pytest.mark.parametrize("healthy", [pod(), pod(waiting="ContainerCreating"), pod(phase="Running")])
def test_nothing_is_held_against_a_pod_that_may_still_start(healthy: Pod) -> None:
    assert reason_of_pod(healthy, "run pod") is None


def test_a_node_that_was_lost_counts_more_than_how_its_pod_looked() -> None:
    lost = pod(phase="Failed", terminated="OOMKilled", exit_code=137, disruption="DeletionByPodGC")
    reason = reason_of_pod(lost, "executor pod")
    assert reason is not None
    assert reason.code is ReasonCode.NODE_LOST


def test_a_full_quota_is_told_with_its_figures() -> None:
    reason = reason_of_refusal(QUOTA, "run pod")
    assert reason.code is ReasonCode.QUOTA_EXCEEDED
    assert "limited: requests.memory=1Gi" in reason.message
    said = [f"FailedCreate: Error creating: {QUOTA}", "DeadlineExceeded: Job was active longer"]
    assert reason_of_complaints(said, "run pod") == reason_of_refusal(f"Error creating: {QUOTA}", "run pod")


def test_a_quota_that_nobody_has_counted_yet_is_one_too() -> None:
    said = "status unknown for quota: small, resources: requests.memory"
    assert reason_of_refusal(said, "run pod").code is ReasonCode.QUOTA_EXCEEDED


def test_a_quota_that_demands_a_limit_which_no_pod_has_is_the_operators_business() -> None:
    said = 'pods "dagster-run-1" is forbidden: failed quota: cpu: must specify limits.cpu for: dagster'
    reason = reason_of_refusal(said, "run pod")
    assert reason.code is ReasonCode.POD_REFUSED
    assert "limits.cpu for: dagster" in reason.message
    assert "an operator has to give the namespace a LimitRange with a default" in reason.message
    assert "resource_profile" not in reason.message  # none has that limit


def test_a_job_whose_time_was_over_is_told_as_such() -> None:
    reason = reason_of_job(Job("j", "DeadlineExceeded"), "run pod")
    assert reason is not None
    assert reason.code is ReasonCode.RUN_TIMED_OUT


@pytest.mark.parametrize("job", [None, Job("j"), Job("j", "BackoffLimitExceeded")])
def test_a_job_that_failed_because_its_pod_did_says_nothing_itself(job: Job | None) -> None:
    assert reason_of_job(job, "run pod") is None


@pytest.mark.parametrize(
    "said",
    [
        'admission webhook "policy.example.com" denied the request: no such registry',
        'Internal error occurred: failed calling webhook "policy.example.com"',
        'Pod "dagster-run-1" is invalid: spec.containers[0].image: Required value',
    ],
)
def test_whatever_keeps_a_job_from_making_its_pod_is_told(said: str) -> None:
    reason = reason_of_complaints([f"FailedCreate: Error creating: {said}"], "run pod")
    assert reason is not None
    assert reason.code is ReasonCode.POD_REFUSED
    assert said in reason.message


def test_another_refusal_is_an_operators_business() -> None:
    said = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    assert reason_of_refusal(said, "run pod").code is ReasonCode.POD_REFUSED


def test_the_first_pod_with_a_fault_speaks_for_all() -> None:
    reason = reason_of_pods([pod(phase="Running"), pod(waiting="ErrImagePull")], "executor pod")
    assert reason is not None
    assert reason.code is ReasonCode.IMAGE_UNAVAILABLE
    assert reason_of_pods([pod(phase="Running")], "executor pod") is None
    assert reason_of_complaints(["Unhealthy: Readiness probe failed"], "executor pod") is None


def test_a_silent_cluster_and_one_that_refuses_are_told_apart() -> None:
    away = reason_of_error(ClusterUnavailableError("the API server does not answer"), "run pod")
    assert away.code is ReasonCode.CLUSTER_UNAVAILABLE
    assert reason_of_error(ClusterRefusedError(QUOTA), "run pod").code is ReasonCode.QUOTA_EXCEEDED


def test_what_nobody_explains_is_told_as_such() -> None:
    assert "180 s, and its state does not say why" in reason_of_silence(180, "run pod").message
    said = ["FailedScheduling: 0/1 nodes", 'FailedMount: secret "postgresql-ca" not found']
    assert 'FailedMount: secret "postgresql-ca" not found' in reason_of_silence(180, "run pod", said).message
    assert reason_of_absence("run pod", had_started=True).code is ReasonCode.RUN_DIED
