"""What the code location hands to sensors and assets. Settings are read when a resource is set up, never at import.

Clients are imported where they are made: the code location loads without Kafka, boto3, httpx and Spark.
"""

from functools import cache
from typing import TYPE_CHECKING

from dagster import ResourceDefinition, resource

from resources.settings import ComputeSettings, compute_settings

if TYPE_CHECKING:
    from resources.backfills import HttpBackfills
    from resources.control_plane import HttpControlPlane
    from resources.kafka.log import KafkaRecordLog
    from resources.lake.store import S3Lake

TICK_PATIENCE_SECONDS = 5.0
"""A tick has 60 s in all, and the next one tries again: it waits for the control plane less long than a run does."""
SCHEDULE_PATIENCE_SECONDS = 10.0
"""A schedule's tick has 60 s too; one that failed is tried again a minute later."""


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


@resource(description="The API as a schedule asks it for backfills.")
def backfills() -> "HttpBackfills":
    """Return this process's client, not yet connected."""
    return _backfills()


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


RESOURCES: dict[str, ResourceDefinition] = {
    "settings": settings,
    "record_log": record_log,
    "intake": intake,
    "backfills": backfills,
    "control_plane": control_plane,
    "lake": lake,
    "landing": landing,
}


def _bucket(name: str) -> "S3Lake":
    from resources.lake.store import S3Lake  # noqa: PLC0415

    return S3Lake(compute_settings(), name)


@cache
def _record_log() -> "KafkaRecordLog":
    from resources.kafka.log import KafkaRecordLog  # noqa: PLC0415

    return KafkaRecordLog(compute_settings())


@cache
def _intake() -> "HttpControlPlane":
    from resources.control_plane import HttpControlPlane  # noqa: PLC0415

    return HttpControlPlane(compute_settings(), patience=TICK_PATIENCE_SECONDS)


@cache
def _backfills() -> "HttpBackfills":
    from resources.backfills import HttpBackfills  # noqa: PLC0415

    return HttpBackfills(compute_settings(), patience=SCHEDULE_PATIENCE_SECONDS)
