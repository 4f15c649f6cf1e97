"""The log's set-up: is the broker there, and does the topic exist with the settings that Lakemill needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import stamina
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import AuthorizationError, KafkaError, TopicAlreadyExistsError

from contracts.problems import LakemillError
from resources.kafka.client import connect
from resources.settings import KafkaSettings

DEFAULT_PARTITIONS = 4
RECORD_ROOM = 4
"""A record may be so many times larger than allowed and still reach the sensor, which makes a dead letter of it."""


class TopicError(LakemillError):
    """The topic cannot be made, or is not as it must be."""


def broker_answers(settings: KafkaSettings) -> bool:
    """Return whether the cluster names a controller and lists its topics. Waits up to ten seconds for a connection."""
    try:
        with _admin(settings) as admin:
            admin.list_topics()
    except KafkaError:
        return False
    return True


def ensure_topic(
    settings: KafkaSettings,
    *,
    partitions: int = DEFAULT_PARTITIONS,
    replication_factor: int | None = None,
    wait_seconds: float = 0.0,
) -> bool:
    """Create the topic when it is missing and wait until every partition has a leader. Return whether it was created.

    An existing topic is never changed. Without a replication factor the broker's own default holds. ``wait_seconds``
    is how long to try while no broker answers. Raises TopicError when none does, when it refuses, and when the topic
    that is there has fewer partitions, replicas or bytes in a record than it must have.
    """
    topic = settings.kafka_topic
    with _making(topic), _admin(settings, wait_seconds) as admin:
        if _make_missing(admin, topic, _plan(settings, partitions, replication_factor)):
            return True
        lacks = list(_shortcomings(admin, settings, partitions, replication_factor or 1))
    if lacks:
        raise TopicError(f"topic {topic!r} exists, but {'; '.join(lacks)}")
    return False


def ensure_direct_topics(
    settings: KafkaSettings, *, partitions: int = DEFAULT_PARTITIONS, replication_factor: int | None = None
) -> dict[str, bool]:
    """Create the direct topics that are missing; returns topic → whether it was created.

    One that exists is its producers', and taken as it is. Raises TopicError like ``ensure_topic``.
    """
    made: dict[str, bool] = {}
    for topic in settings.direct_topics:
        with _making(topic), _admin(settings) as admin:
            made[topic] = _make_missing(admin, topic, _plan(settings, partitions, replication_factor))
    return made


def _plan(settings: KafkaSettings, partitions: int, replication_factor: int | None) -> dict[str, Any]:
    # The broker unpacks what a producer has compressed: our client cannot read snappy, lz4 and zstd.
    configs = {"max.message.bytes": str(_topic_bytes(settings)), "compression.type": "uncompressed"}
    plan: dict[str, Any] = {"num_partitions": partitions, "configs": configs}
    return plan if replication_factor is None else {**plan, "replication_factor": replication_factor}


def _make_missing(admin: Any, topic: str, plan: dict[str, Any]) -> bool:
    """Return whether the topic was created; either way every partition has a leader then. Raises KafkaError."""
    if topic in admin.list_topics():
        return False
    try:
        admin.create_topics({topic: plan}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        admin.wait_for_topics([topic])  # somebody else made it in between
        return False
    return True


@contextmanager
def _making(topic: str) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        needs = ": the user needs Describe, DescribeConfigs and Create on it"
        hint = needs if isinstance(error, AuthorizationError) else ""
        raise TopicError(f"topic {topic!r} cannot be checked or made: {error}{hint}") from error


def _topic_bytes(settings: KafkaSettings) -> int:
    return RECORD_ROOM * settings.kafka_max_record_bytes


def _shortcomings(admin: Any, settings: KafkaSettings, partitions: int, replicas: int) -> Iterator[str]:
    topic, wanted_bytes = settings.kafka_topic, _topic_bytes(settings)
    (found,) = admin.describe_topics([topic])
    if (count := len(found["partitions"])) < partitions:
        yield (
            f"has {count} partitions instead of {partitions}: run 'kafka-topics.sh --alter --topic {topic} "
            f"--partitions {partitions}', or ask for {count} with '--partitions {count}'"
        )
    if (least := min(len(part["replica_nodes"]) for part in found["partitions"])) < replicas:
        yield (
            f"has {least} replicas instead of {replicas}: reassign it with 'kafka-reassign-partitions.sh', or ask for "
            f"{least} with '--replication-factor {least}'"
        )
    configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    largest = configs["topic"].get(topic, {}).get("max.message.bytes")
    if largest is None:
        yield "its max.message.bytes cannot be read: grant the user DescribeConfigs on it"
    elif int(largest["value"]) < wanted_bytes:
        yield (
            f"its max.message.bytes is {largest['value']}, less than {RECORD_ROOM} x LAKEMILL_KAFKA_MAX_RECORD_BYTES: "
            f"run 'kafka-configs.sh --alter --entity-type topics --entity-name {topic} "
            f"--add-config max.message.bytes={wanted_bytes}'"
        )


@contextmanager
def _admin(settings: KafkaSettings, wait_seconds: float = 0.0) -> Iterator[Any]:
    """Yield an admin client. Raises KafkaError; what a later try may mend is tried again for ``wait_seconds``."""
    tries, timeout = (None, wait_seconds) if wait_seconds else (1, None)
    for attempt in stamina.retry_context(on=_may_mend, attempts=tries, timeout=timeout, wait_initial=0.5, wait_max=2.0):
        with attempt:
            admin = connect(KafkaAdminClient, settings)
    try:
        yield admin
    finally:
        admin.close()


def _may_mend(error: Exception) -> bool:
    return isinstance(error, KafkaError) and error.retriable
