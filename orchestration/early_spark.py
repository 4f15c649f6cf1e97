"""Spark begun before Dagster is imported: both take seconds, one of the JVM's time and one of Python's."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from contracts.messages import Profile
from resources.settings import ComputeSettings

if TYPE_CHECKING:
    from orchestration.executors import PodExecutors
    from resources.spark.session import SparkSessions

_begun: "list[SparkSessions]" = []


def begin(settings: ComputeSettings) -> None:
    """Begin Spark for the profile that the pod's environment names; where it names none, Spark starts when needed."""
    if settings.run_profile is None:
        return
    try:
        profile = Profile.model_validate_json(settings.run_profile)
    except ValidationError as error:
        import structlog  # noqa: PLC0415 - a tenth of the time that is saved here

        # The run asks for the profile that it was granted.
        structlog.get_logger(__name__).warning("spark.not_begun", problems=error.error_count())
        return
    from resources.spark.session import SparkSessions  # noqa: PLC0415 - only runs need Spark

    sessions = SparkSessions(settings, executors=pod_executors(settings))
    sessions.begin(profile)
    _begun.append(sessions)


def begun() -> "SparkSessions | None":
    """Return what ``begin`` has begun, once."""
    return _begun.pop() if _begun else None


def pod_executors(settings: ComputeSettings) -> "Callable[[], PodExecutors] | None":
    """Return what makes the executors where they are pods; None where the driver itself computes."""
    if not settings.spark_master.startswith("k8s"):
        return None

    def make() -> "PodExecutors":
        # Only here: the cluster's client takes its time to load, and not every run asks for it.
        from orchestration.executors import PodExecutors  # noqa: PLC0415
        from resources.cluster.kubernetes import KubernetesCluster  # noqa: PLC0415

        return PodExecutors(settings, KubernetesCluster(settings.pod_namespace or "default"))

    return make
