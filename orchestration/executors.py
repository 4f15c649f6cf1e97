"""A run's executors as pods: how Spark is told to start them, how long they are waited for, why there are none."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from assets.errors import PodsFailedError
from assets.running.pod_failures import reason_of_error, reason_of_job, reason_of_pod, reason_of_pods, reason_of_silence
from contracts.messages import Profile
from contracts.reasons import Reason, ReasonCode
from orchestration.executor_watch import ExecutorWatch, registered
from orchestration.k8s import BLOCK_MANAGER_PORT, DRIVER_PORT, executor_pod, spark_settings
from resources.cluster.port import Cluster, ClusterError, Pod
from resources.settings import ComputeSettings
from resources.spark.storage import SparkUnavailableError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger(__name__)

ROLE, _OWN_ROLE = "executor pod", "run pod"
_POLL_SECONDS = 0.25
_START_SECONDS = 30.0
"""What an executor's JVM may take until it has reached the driver, on a busy node."""


@dataclass(frozen=True, slots=True)
class PodExecutors:
    """The executors of the run pod that this process is."""

    environment: ComputeSettings
    cluster: Cluster
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def settings(self, profile: Profile) -> dict[str, str]:
        """See resources.spark.session.Executors.

        Raises SparkUnavailableError outside a pod, PodsFailedError when the cluster does not tell.
        """
        name = self.environment.pod_name
        try:
            own = self.cluster.pod(name) if name else None
        except ClusterError as error:
            raise PodsFailedError(reason_of_error(error, ROLE)) from error
        if own is None:
            raise SparkUnavailableError("this run is no pod of the cluster: LAKEMILL_POD_NAME does not name one")
        return spark_settings(profile, own, self.environment)

    @contextmanager
    def attached(self, session: "SparkSession", profile: Profile) -> Iterator[None]:
        """See resources.spark.session.Executors: waits for all of them, but no longer than until the first one is late.

        Raises PodsFailedError when not even one came, or when there has been none for as long later on. With fewer
        than wanted the work begins, and goes on.
        """
        self._wait(session, profile)
        patience = self.environment.executor_start_seconds
        fallback = reason_of_silence(patience, ROLE)
        with ExecutorWatch(session, patience, lambda: self._why(session, profile), fallback):
            yield

    def _wait(self, session: "SparkSession", profile: Profile) -> None:
        wanted = profile.executor_instances if profile.min_executors is None else profile.min_executors
        patience = self.environment.executor_start_seconds
        give_up_at = self.clock() + patience
        while (ready := registered(session)) < wanted:
            if self.clock() > give_up_at:
                if not ready:
                    raise PodsFailedError(self._why(session, profile))
                log.warning("executors.fewer", ready=ready, wanted=wanted)
                return
            self.sleep(_POLL_SECONDS)

    def interruption(self) -> Reason | None:
        """See resources.spark.session.Executors."""
        try:
            own = self.cluster.pod(self.environment.pod_name) if self.environment.pod_name else None
            if own is None:
                return None
            if own.disruption:
                return reason_of_pod(own, _OWN_ROLE)
            return reason_of_job(self.cluster.job(own.job), _OWN_ROLE) if own.job else None
        except ClusterError:
            return None  # what interrupted us may have reached it too

    def _why(self, session: "SparkSession", profile: Profile) -> Reason:
        application, patience = session.sparkContext.applicationId, self.environment.executor_start_seconds
        try:
            pods = self.cluster.pods(f"spark-role=executor,spark-app-selector={application}")
            if not pods and (own := self.cluster.pod(self.environment.pod_name or "")):
                # Spark only logs why it could not make any: so ask the API server what it has against one like them.
                self.cluster.try_pod(executor_pod(profile, own, self.environment))
        except ClusterError as error:
            return reason_of_error(error, ROLE)
        return reason_of_pods(pods, ROLE) or _unreached(pods, self.now()) or reason_of_silence(patience, ROLE)


def _unreached(pods: Sequence[Pod], now: datetime) -> Reason | None:
    up = [now - pod.running_since for pod in pods if pod.running_since]
    mute = sum(since.total_seconds() > _START_SECONDS for since in up)
    if not mute:
        return None
    message = (
        f"{mute} executor pods run, and none has reached the driver within {_START_SECONDS:.0f} s; "
        f"an operator has to open the ports {DRIVER_PORT} and {BLOCK_MANAGER_PORT} between them"
    )
    return Reason(code=ReasonCode.SPARK_UNAVAILABLE, message=message)
