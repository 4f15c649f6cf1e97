"""A run's executors as pods: how Spark is told to start them, and how long they are waited for."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from assets.errors import PodsFailedError
from assets.pod_failures import reason_of_error, reason_of_pod, reason_of_pods, reason_of_silence
from contracts.messages import Profile
from contracts.reasons import Reason, ReasonCode
from orchestration.k8s import BLOCK_MANAGER_PORT, DRIVER_PORT, executor_size, spark_settings
from resources.cluster import Cluster, ClusterError, Pod
from resources.kubernetes_cluster import KubernetesCluster
from resources.settings import ComputeSettings
from resources.spark_storage import SparkUnavailableError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger(__name__)

ROLE = "executor pod"
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class PodExecutors:
    """The executors of the run pod that this process is."""

    process: ComputeSettings
    cluster: Cluster
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def settings(self, profile: Profile) -> dict[str, str]:
        """See resources.spark.Executors.

        Raises SparkUnavailableError outside a pod, PodsFailedError when the cluster does not tell.
        """
        name = self.process.pod_name
        try:
            own = self.cluster.pod(name) if name else None
        except ClusterError as error:
            raise PodsFailedError(reason_of_error(error, ROLE)) from error
        if own is None:
            raise SparkUnavailableError("this run is no pod of the cluster: LAKEMILL_POD_NAME does not name one")
        return spark_settings(profile, own, self.process)

    def wait(self, session: "SparkSession", profile: Profile) -> None:
        """See resources.spark.Executors: for all of them, but no longer than until the first one is late.

        Raises PodsFailedError when not even one came; with fewer than wanted the work begins.
        """
        wanted = profile.executor_instances if profile.min_executors is None else profile.min_executors
        patience = self.process.executor_start_seconds
        give_up_at = self.clock() + patience
        while (ready := _registered(session)) < wanted:
            if self.clock() > give_up_at:
                if not ready:
                    raise PodsFailedError(self._why(session, profile) or reason_of_silence(patience, ROLE))
                log.warning("executors.fewer", ready=ready, wanted=wanted)
                return
            self.sleep(_POLL_SECONDS)

    def interruption(self) -> Reason | None:
        """See resources.spark.Executors."""
        try:
            own = self.cluster.pod(self.process.pod_name) if self.process.pod_name else None
        except ClusterError:
            return None  # what interrupted us may have reached it too
        return reason_of_pod(own, "run pod") if own is not None and own.disruption else None

    def _why(self, session: "SparkSession", profile: Profile) -> Reason | None:
        application = session.sparkContext.applicationId
        try:
            pods = self.cluster.pods(f"spark-role=executor,spark-app-selector={application}")
            if pods:
                return reason_of_pods(pods, (), ROLE) or _unreached(pods, self.process.executor_start_seconds)
            # Spark only logs why it could not make any: so ask the API server what it has against one like them.
            self.cluster.try_pod(_probe(profile))
        except ClusterError as error:
            return reason_of_error(error, ROLE)
        return None


def pod_executors(settings: ComputeSettings) -> PodExecutors | None:
    """Return the executors where they are pods; None where the driver itself computes."""
    if not settings.spark_master.startswith("k8s"):
        return None
    return PodExecutors(settings, KubernetesCluster(settings.pod_namespace or "default"))


def _unreached(pods: Sequence[Pod], seconds: float) -> Reason | None:
    running = sum(pod.phase == "Running" for pod in pods)
    if not running:
        return None
    message = (
        f"{running} executor pods run, and none has reached the driver within {seconds:.0f} s; "
        f"an operator has to open the ports {DRIVER_PORT} and {BLOCK_MANAGER_PORT} between them"
    )
    return Reason(code=ReasonCode.SPARK_UNAVAILABLE, message=message)


def _registered(session: "SparkSession") -> int:
    context: Any = session.sparkContext
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # the driver is among them


def _probe(profile: Profile) -> dict[str, Any]:
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "probe",
        "image": "probe",
        "resources": executor_size(profile).requirements(),
        "securityContext": locked,
    }
    return {
        "metadata": {"generateName": "executor-probe-"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
