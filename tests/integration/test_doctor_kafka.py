"""The checks of Kafka against a real broker."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient

from cli.doctor.check import Group, Status
from cli.doctor.site import Options, Site
from resources.kafka import connect
from resources.settings import KafkaSettings
from tests.doctor import ask, ask_group, proves
from tests.kafka_server import kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaSettings]:
    with kafka() as bootstrap:
        yield KafkaSettings(kafka_bootstrap=bootstrap)


def topic(broker: KafkaSettings, **configs: str) -> Site:
    """Return a site with a topic of its own; ``_`` stands for ``.`` in the names of settings."""
    name = f"lakemill.doctor.{uuid4()}"
    admin = connect(KafkaAdminClient, broker)
    plan = {"num_partitions": 2, "configs": {key.replace("_", "."): value for key, value in configs.items()}}
    admin.create_topics({name: plan}, wait_for_metadata=True)
    admin.close()
    return Site(Options(), kafka=broker.model_copy(update={"kafka_topic": name}))


def test_a_single_open_broker_passes_with_two_warnings(broker: KafkaSettings) -> None:
    found = ask_group(Site(Options(), kafka=broker), Group.KAFKA)
    unusual = {name: result.detail for name, result in found.items() if result.status is not Status.PASS}
    assert {result.status for result in found.values()} == {Status.PASS, Status.WARN}, found
    assert unusual.keys() == {"kafka.replication", "kafka.rights"}
    assert "no authorizer" in unusual["kafka.rights"]
    assert "4 partitions" in found["kafka.topic"].detail


@pytest.mark.parametrize(
    ("configs", "name", "status"),
    [
        ({"retention_ms": "3600000"}, "kafka.retention", Status.WARN),
        ({"cleanup_policy": "compact"}, "kafka.retention", Status.FAIL),
        ({"max_message_bytes": "1000000"}, "kafka.record_size", Status.FAIL),
        ({"min_insync_replicas": "2"}, "kafka.replication", Status.FAIL),
    ],
)
@proves("kafka.retention", "kafka.record_size", "kafka.replication")
def test_a_topic_that_is_set_up_wrong_is_found(
    broker: KafkaSettings, configs: dict[str, str], name: str, status: Status
) -> None:
    found = ask(topic(broker, **configs), name)
    assert found.status is status, found


@pytest.mark.parametrize("name", ["kafka.topic", "kafka.replication", "kafka.retention", "kafka.rights"])
@proves("kafka.topic")
def test_a_topic_that_is_not_there_is_found(broker: KafkaSettings, name: str) -> None:
    site = Site(Options(), kafka=broker.model_copy(update={"kafka_topic": "nowhere"}))
    found = ask(site, name)
    assert (found.status, "nowhere" in found.detail) == (Status.FAIL, True), found


@proves("kafka.reachable")
def test_a_broker_that_is_away_is_found() -> None:
    site = Site(Options(), kafka=KafkaSettings(kafka_bootstrap="127.0.0.1:9"))
    found = ask(site, "kafka.reachable")
    assert (found.status, "127.0.0.1:9" in found.detail) == (Status.FAIL, True), found
