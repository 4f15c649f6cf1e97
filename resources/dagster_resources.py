"""What the code location hands to sensors and assets. Settings are read when a resource is set up, never at import.

Clients are imported where they are made: the code location loads without Kafka, boto3, httpx and Spark.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from dagster import ResourceDefinition, resource

from resources.settings import ComputeSettings, compute_settings

if TYPE_CHECKING:
    from resources.control_plane import HttpControlPlane
    from resources.kafka_log import KafkaRecordLog
    from resources.lake import S3Lake
    from resources.spark import SparkSessions

TICK_PATIENCE_SECONDS = 5.0
"""A tick has 60 s in all, and the next one tries again: it waits for the control plane less long than a run does."""


@resource(description="The compute plane's settings.")
def settings() -> ComputeSettings:
    """Read the environment. Raises pydantic's ValidationError naming each missing variable."""
    return compute_settings()


@resource(description="The log of released processes; one consumer lives in the code server between ticks.")
def record_log() -> "KafkaRecordLog":
    """Return this process's log, not yet connected."""
    return _record_log()


@resource(description="The control plane as the sensor calls it.")
def intake() -> "HttpControlPlane":
    """Return this process's client, not yet connected."""
    return _intake()


@resource(description="The control plane as a run calls it.")
def control_plane() -> "HttpControlPlane":
    """Return a client; nothing is sent yet."""
    from resources.control_plane import HttpControlPlane  # noqa: PLC0415

    return HttpControlPlane(compute_settings())


@resource(description="The bucket of the snapshots.")
def lake() -> "S3Lake":
    """Return a client; nothing is sent yet."""
    return _bucket(compute_settings().lake_bucket)


@resource(description="The bucket of the raw files, as they were delivered.")
def landing() -> "S3Lake":
    """Return a client; nothing is sent yet."""
    return _bucket(compute_settings().landing_bucket)


@resource(description="Spark for one run: its JVM starts when the run asks for it and stops with the run.")
def spark() -> Iterator["SparkSessions"]:
    """Yield the sessions; close them when the run ends, however it ends."""
    from resources.spark import SparkSessions  # noqa: PLC0415

    sessions = SparkSessions(compute_settings(), start=_start_session)
    try:
        yield sessions
    finally:
        sessions.close()


RESOURCES: dict[str, ResourceDefinition] = {
    "settings": settings,
    "record_log": record_log,
    "intake": intake,
    "control_plane": control_plane,
    "lake": lake,
    "landing": landing,
    "spark": spark,
}


def _start_session(config: dict[str, str]) -> Any:
    from dagster_pyspark import LazyPySparkResource  # noqa: PLC0415

    return LazyPySparkResource(spark_config=config).spark_session


def _bucket(name: str) -> "S3Lake":
    from resources.lake import S3Lake  # noqa: PLC0415

    return S3Lake(compute_settings(), name)


@cache
def _record_log() -> "KafkaRecordLog":
    from resources.kafka_log import KafkaRecordLog  # noqa: PLC0415

    return KafkaRecordLog(compute_settings())


@cache
def _intake() -> "HttpControlPlane":
    from resources.control_plane import HttpControlPlane  # noqa: PLC0415

    return HttpControlPlane(compute_settings(), patience=TICK_PATIENCE_SECONDS)
