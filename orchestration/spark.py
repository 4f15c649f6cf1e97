"""The resource ``spark``: the one session of a run, built on dagster-pyspark, its executors pods where it has some."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagster import resource

from resources.settings import ComputeSettings, compute_settings

if TYPE_CHECKING:
    from orchestration.executors import PodExecutors
    from resources.spark.session import SparkSessions


@resource(description="Spark for one run: its JVM starts when the run asks for it and stops with the run.")
def spark() -> Iterator["SparkSessions"]:
    """Yield the sessions; close them when the run ends, however it ends."""
    from resources.spark.session import SparkSessions  # noqa: PLC0415 - the code location loads no client of a run

    settings = compute_settings()
    sessions = SparkSessions(settings, start=_start_session, executors=pod_executors(settings))
    try:
        yield sessions
    finally:
        sessions.close()


def pod_executors(settings: ComputeSettings) -> "PodExecutors | None":
    """Return the executors where they are pods; None where the driver itself computes."""
    if not settings.spark_master.startswith("k8s"):
        return None
    # Only here: the cluster's client takes its time to load, and Spark would start that much later.
    from orchestration.executors import PodExecutors  # noqa: PLC0415
    from resources.cluster.kubernetes import KubernetesCluster  # noqa: PLC0415

    return PodExecutors(settings, KubernetesCluster(settings.pod_namespace or "default"))


def _start_session(config: dict[str, str]) -> Any:
    from dagster_pyspark import LazyPySparkResource  # noqa: PLC0415

    return LazyPySparkResource(spark_config=config).spark_session
