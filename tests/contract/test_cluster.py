"""One behaviour for the cluster, whatever it is made of: the fake, and a namespace of a real one."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Protocol
from uuid import uuid4

import pytest
from kubernetes import client, config
from pydantic import SecretStr

from assets.errors import PodsFailedError
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from orchestration.executors import PodExecutors
from resources.cluster.kubernetes import KubernetesCluster
from resources.cluster.port import Cluster, ClusterRefusedError, Job, Pod
from resources.settings import ComputeSettings
from tests.executor_count import EXECUTOR_TEMPLATE, ExecutorCount
from tests.memory_cluster import MemoryCluster

IMAGE = "lakemill.invalid/compute:9"
POD_SPEC: dict[str, Any] = {
    "restartPolicy": "Never",
    "nodeSelector": {"lakemill.test/no-such": "node"},
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "only",
            "image": IMAGE,
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
"""A pod that a restricted namespace takes, and no node."""


class World(Protocol):
    """A namespace, and what can happen in it."""

    @property
    def cluster(self) -> Cluster: ...
    def pod(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a pod that no node takes."""

    def job(self, name: str) -> None:
        """Make a Job of such a pod."""

    def time_out(self, job: str) -> None:
        """Let a Job's time be over."""

    def fill(self) -> None:
        """Let the quota take no more pods."""


class MemoryWorld:
    def __init__(self) -> None:
        self.cluster = MemoryCluster()

    def pod(self, name: str, labels: Mapping[str, str]) -> None:
        self.cluster.add(Pod(name, "Pending", IMAGE, unschedulable="0/1 nodes"), **labels)
        self.cluster.warn("Pod", name, "FailedScheduling: 0/1 nodes")

    def job(self, name: str) -> None:
        self.cluster.start(name, Pod(f"{name}-abcde", "Pending", IMAGE, job=name))

    def time_out(self, job: str) -> None:
        self.cluster.give_up(job, "DeadlineExceeded")

    def fill(self) -> None:
        self.cluster.is_full = True


class RealWorld:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.cluster = KubernetesCluster(namespace)
        self.core, self.batch = client.CoreV1Api(), client.BatchV1Api()

    def pod(self, name: str, labels: Mapping[str, str]) -> None:
        made = {"metadata": {"name": name, "labels": labels}, "spec": POD_SPEC}
        self.core.create_namespaced_pod(self.namespace, made)

    def job(self, name: str) -> None:
        spec = {"backoffLimit": 0, "template": {"spec": POD_SPEC}}
        self.batch.create_namespaced_job(self.namespace, {"metadata": {"name": name}, "spec": spec})

    def time_out(self, job: str) -> None:
        self.batch.patch_namespaced_job(job, self.namespace, {"spec": {"activeDeadlineSeconds": 1}})

    def fill(self) -> None:
        quota = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
        self.core.create_namespaced_resource_quota(self.namespace, quota)
        until(lambda: "exceeded quota" in self._said_of_a_pod())  # the API server learns of it with a delay

    def close(self) -> None:
        for quota in self.core.list_namespaced_resource_quota(self.namespace).items:
            self.core.delete_namespaced_resource_quota(quota.metadata.name, self.namespace)
        until(lambda: not self._said_of_a_pod())

    def _said_of_a_pod(self) -> str:
        made = {"metadata": {"name": "asks"}, "spec": POD_SPEC}
        try:
            self.core.create_namespaced_pod(self.namespace, made, dry_run="All")
        except client.ApiException as error:
            return str(error.body)
        return ""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that enforces Pod Security ``restricted``, with the account that pods get."""
    config.load_kube_config()
    core = client.CoreV1Api()
    name, labels = f"cluster-{uuid4().hex[:8]}", {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    try:
        until(lambda: core.list_namespaced_service_account(name).items)
        yield name
    finally:
        core.delete_namespace(name)


@pytest.fixture(params=["memory", pytest.param("kubernetes", marks=pytest.mark.k8s)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    with closing(RealWorld(request.getfixturevalue("namespace"))) as real:
        yield real


@pytest.fixture
def name() -> str:
    return f"dagster-run-{uuid4()}"


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the cluster does not get there"
        time.sleep(0.1)


def test_a_pod_is_found_by_its_name_and_by_all_of_its_labels(world: World, name: str) -> None:
    world.pod(name, {"role": name[-8:], "app": "a"})
    found = world.cluster.pod(name)
    assert found is not None
    assert (found.name, found.phase, found.image) == (name, "Pending", IMAGE)
    assert [pod.name for pod in world.cluster.pods(f"role={name[-8:]},app=a")] == [name]
    assert world.cluster.pods(f"role={name[-8:]},app=b") == []
    assert world.cluster.pod(f"{name}-other") is None


def test_what_the_cluster_holds_against_a_pod_is_heard(world: World, name: str) -> None:
    world.pod(name, {})
    until(lambda: (pod := world.cluster.pod(name)) and pod.unschedulable)
    until(lambda: world.cluster.complaints("Pod", name))
    assert "0/1 nodes" in world.cluster.complaints("Pod", name)[-1]
    assert world.cluster.complaints("Job", name) == []
    assert world.cluster.complaints("Pod", f"{name}-other") == []


def test_a_job_is_deleted_with_its_pod_and_again_without_complaint(world: World, name: str) -> None:
    assert world.cluster.job(name) is None
    world.job(name)
    assert world.cluster.job(name) == Job(name)
    until(lambda: len(world.cluster.pods(f"job-name={name}")) == 1)
    world.cluster.delete_job(name)
    until(lambda: world.cluster.job(name) is None and not world.cluster.pods(f"job-name={name}"))
    world.cluster.delete_job(name)


def test_a_job_whose_time_is_over_and_its_pod_say_so(world: World, name: str) -> None:
    world.job(name)
    until(lambda: world.cluster.pods(f"job-name={name}"))
    (pod,) = world.cluster.pods(f"job-name={name}")
    assert pod.job == name
    world.time_out(name)
    until(lambda: (job := world.cluster.job(name)) and job.failure)
    assert world.cluster.job(name) == Job(name, "DeadlineExceeded")


def test_a_pod_that_would_do_is_not_made(world: World, name: str) -> None:
    world.cluster.try_pod({"metadata": {"name": name}, "spec": POD_SPEC})
    assert world.cluster.pod(name) is None


def test_a_pod_that_asks_for_too_much_freedom_is_refused_in_the_clusters_words(world: World, name: str) -> None:
    free = {**POD_SPEC, "securityContext": {}}
    with pytest.raises(ClusterRefusedError, match=r'forbidden: violates PodSecurity "restricted:latest"'):
        world.cluster.try_pod({"metadata": {"name": name}, "spec": free})


def test_a_full_quota_is_told_of_a_pod_and_of_a_job(world: World, name: str) -> None:
    world.fill()
    with pytest.raises(ClusterRefusedError, match=r"forbidden: exceeded quota: .*limited: pods=0"):
        world.cluster.try_pod({"metadata": {"name": name}, "spec": POD_SPEC})
    world.job(name)
    until(lambda: world.cluster.complaints("Job", name))
    assert "forbidden: exceeded quota" in world.cluster.complaints("Job", name)[-1]
    assert world.cluster.pods(f"job-name={name}") == []


@pytest.mark.parametrize(("full", "code"), [(False, ReasonCode.POD_PENDING), (True, ReasonCode.QUOTA_EXCEEDED)])
def test_executors_that_could_not_be_made_are_explained(world: World, name: str, full: bool, code: ReasonCode) -> None:
    world.pod(name, {})  # the run pod
    if full:
        world.fill()
    session: Any = ExecutorCount()
    hasty = ComputeSettings(
        internal_secret=SecretStr("internal-secret-of-the-tests"),
        executor_start_seconds=0.01,
        executor_template=EXECUTOR_TEMPLATE,
        pod_name=name,
    )
    executors = PodExecutors(hasty, world.cluster)
    with pytest.raises(PodsFailedError) as failed, executors.attached(session, Profile(executor_instances=1)):
        raise AssertionError("there are none")
    assert failed.value.reason.code is code
