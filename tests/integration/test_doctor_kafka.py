"""The checks of Kafka against a real broker."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from cli.doctor.check import Group, Status
from cli.doctor.site import Options, Site
from deploy.jars.java import find_java
from deploy.local.environment import inherited, java_home
from deploy.local.kafka import KafkaNode
from deploy.local.ports import PortBlock, find_base_port
from deploy.local.site import Site as LocalSite
from resources.kafka.client import connect
from resources.settings import KafkaSettings
from tests.doctor import ask, ask_group, proves
from tests.kafka_server import JARS, kafka

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaSettings]:
    with kafka() as bootstrap:
        yield KafkaSettings(kafka_bootstrap=bootstrap)


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaSettings]:
    """A broker with an authorizer: what has no rule is open to everybody, what has one only to whom it names."""
    folder, ports = Path(tempfile.mkdtemp(prefix="lakemill-acl-")), PortBlock(find_base_port())
    authorizer = {"authorizer.class.name": AUTHORIZER, "allow.everyone.if.no.acl.found": "true"}
    server = KafkaNode(LocalSite(folder, JARS, ports, {}, find_java(java_home())), authorizer).server()
    server.prepare()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(server.command, env=inherited({}), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not server.is_ready(0):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline
        yield KafkaSettings(kafka_bootstrap=ports.address("kafka"))
    finally:
        process.kill()  # nothing of it is kept, and a broker takes its time to leave
        process.wait(30)
        shutil.rmtree(folder)


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
def test_a_topic_that_is_set_up_wrong_is_found(
    broker: KafkaSettings, configs: dict[str, str], name: str, status: Status
) -> None:
    found = ask(topic(broker, **configs), name)
    assert found.status is status, found


@pytest.mark.parametrize("name", ["kafka.topic", "kafka.replication", "kafka.retention", "kafka.rights"])
def test_a_topic_that_is_not_there_is_found(broker: KafkaSettings, name: str) -> None:
    site = Site(Options(), kafka=broker.model_copy(update={"kafka_topic": "nowhere"}))
    found = ask(site, name)
    assert (found.status, "nowhere" in found.detail) == (Status.FAIL, True), found


@pytest.mark.parametrize(
    ("allowed", "name", "status", "words"),
    [
        ([ACLOperation.READ], "kafka.rights", Status.PASS, "may DESCRIBE, READ"),
        ([ACLOperation.WRITE], "kafka.rights", Status.FAIL, "the sensor needs READ"),
        ([ACLOperation.READ, ACLOperation.ALTER], "kafka.rights", Status.WARN, "also ALTER"),
        ([ACLOperation.READ], "kafka.retention", Status.WARN, "DescribeConfigs"),
        ([ACLOperation.DESCRIBE_CONFIGS], "kafka.retention", Status.PASS, "7 days"),
        ([ACLOperation.CREATE], "kafka.topic", Status.FAIL, "TopicAuthorizationFailed"),
    ],
)
def test_an_authorizer_is_asked_what_we_may_do(
    guarded: KafkaSettings, allowed: list[ACLOperation], name: str, status: Status, words: str
) -> None:
    site = topic(guarded)
    pattern = ResourcePattern(ResourceType.TOPIC, site.kafka.kafka_topic)
    admin = connect(KafkaAdminClient, guarded)
    admin.create_acls([ACL("User:ANONYMOUS", "*", each, ACLPermissionType.ALLOW, pattern) for each in allowed])
    # A rule holds a moment after it was taken; until then everything is allowed.
    deadline = time.monotonic() + 30
    while "DELETE" in (admin.describe_topics([site.kafka.kafka_topic])[0]["authorized_operations"] or ()):
        assert time.monotonic() < deadline
    admin.close()
    found = ask(site, name)
    assert (found.status, words in found.detail) == (status, True), found


@proves("kafka.reachable")
def test_a_broker_that_is_away_is_found() -> None:
    site = Site(Options(), kafka=KafkaSettings(kafka_bootstrap="127.0.0.1:9"))
    found = ask(site, "kafka.reachable")
    assert (found.status, "127.0.0.1:9" in found.detail) == (Status.FAIL, True), found
