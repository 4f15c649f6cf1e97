"""A run's executors over fakes: a clock that only sleeping moves, and a cluster in memory."""

from typing import Any

import pytest
from pydantic import SecretStr

from assets.errors import PodsFailedError
from contracts.messages import Profile
from contracts.reasons import Reason
from orchestration.executors import PodExecutors
from resources.cluster.port import Pod
from resources.settings import ComputeSettings
from tests.executor_count import EXECUTOR_TEMPLATE, ExecutorCount
from tests.memory_cluster import MemoryCluster

PROFILE = Profile(executor_instances=3, executor_memory="4g")
OWN = Pod("dagster-run-1-abcde", "Running", "registry/compute:9")
SETTINGS = ComputeSettings(
    internal_secret=SecretStr("internal-secret-of-the-tests"),
    spark_master="k8s://https://kubernetes.default.svc",
    pod_name=OWN.name,
    pod_namespace="lakemill",
    executor_start_seconds=60,
    executor_template=EXECUTOR_TEMPLATE,
)


class World:
    """A clock that only sleeping moves, and executors that register at their moments."""

    def __init__(self, *arrivals: float, settings: ComputeSettings = SETTINGS) -> None:
        self.now = 0.0
        self.arrivals = arrivals
        self.session: Any = ExecutorCount()
        self.cluster = MemoryCluster()
        self.executors = PodExecutors(settings, self.cluster, clock=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.session.registered = sum(arrival <= self.now for arrival in self.arrivals)

    def executor(self, name: str, **facts: Any) -> None:
        pod = Pod(**{"name": name, "phase": "Pending", "image": "registry/compute:9", **facts})
        self.cluster.add(pod, spark_role="executor", spark_app_selector="spark-1")

    def wait(self, profile: Profile = PROFILE) -> None:
        with self.executors.attached(self.session, profile):
            pass

    def reason(self) -> Reason:
        """Wait in vain; return why."""
        with pytest.raises(PodsFailedError) as failed:
            self.wait()
        assert 60 <= self.now < 61
        return failed.value.reason
