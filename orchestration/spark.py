"""The resource ``spark``: the one session of a run, built on dagster-pyspark, its executors pods where it has some."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagster import resource

from orchestration import early_spark
from resources.settings import compute_settings

if TYPE_CHECKING:
    from resources.spark.session import SparkSessions


@resource(description="Spark for one run: its JVM stops with the run.")
def spark() -> Iterator["SparkSessions"]:
    """Yield the sessions; close them when the run ends, however it ends."""
    from resources.spark.session import SparkSessions  # noqa: PLC0415 - the code location loads no client of a run

    settings, executors = compute_settings(), early_spark.pod_executors
    sessions = early_spark.begun() or SparkSessions(settings, start=_start_session, executors=executors(settings))
    try:
        yield sessions
    finally:
        sessions.close()


def _start_session(config: dict[str, str]) -> Any:
    from dagster_pyspark import LazyPySparkResource  # noqa: PLC0415

    return LazyPySparkResource(spark_config=config).spark_session
