"""The judgement of what Kafka tells, without Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import SecretStr

from cli.doctor.check import Group, Result, Status
from cli.doctor.site import Options, Site
from resources.kafka.probe import ClusterFacts, KafkaProbeError, SettingsHiddenError, TopicFacts
from resources.settings import ControlSettings, KafkaSettings
from tests.doctor import ask, ask_group, proves

GOOD = TopicFacts(
    partitions=4, leaderless=(), replicas=3, in_sync=3, operations=frozenset({"READ", "WRITE", "DESCRIBE"})
)
CONFIGS = {
    "min.insync.replicas": "2",
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "4194304",
}
CONTROL = ControlSettings(
    database_url=SecretStr("postgresql+asyncpg://nobody@nowhere/none"),
    internal_secret=SecretStr("internal-secret-of-the-tests"),
)


@dataclass
class Told:
    """Kafka as a list of facts."""

    found: TopicFacts = GOOD
    set_to: Mapping[str, str] = field(default_factory=dict)
    brokers: int = 3
    controller: int | None = 1
    direct: Mapping[str, TopicFacts] = field(default_factory=dict)
    direct_set_to: Mapping[str, str] = field(default_factory=dict)
    hidden: bool = False

    def cluster(self) -> ClusterFacts:
        return ClusterFacts("cluster", self.brokers, self.controller)

    def topic(self, name: str | None = None) -> TopicFacts:
        if name is None:
            return self.found
        if name not in self.direct:
            raise KafkaProbeError(f"topic {name!r}: UnknownTopicOrPartitionError")
        return self.direct[name]

    def configs(self, name: str | None = None) -> Mapping[str, str]:
        if name is not None and self.hidden:
            raise SettingsHiddenError("no DescribeConfigs")
        return {**CONFIGS, **(self.set_to if name is None else self.direct_set_to)}


ENCRYPTED = KafkaSettings(kafka_bootstrap="kafka:9092", kafka_security_protocol="SSL")


def told(
    answers: Told, control: ControlSettings | None = CONTROL, *, kafka: KafkaSettings = ENCRYPTED, **options: Any
) -> Site:
    """Return a site whose Kafka gives these answers."""
    site = Site(Options(**options), kafka=kafka, control=control)
    site.once("kafka", lambda: answers)
    return site


def test_a_good_cluster_passes() -> None:
    found = ask_group(told(Told()), Group.KAFKA)
    assert {result.status for result in found.values()} == {Status.PASS}, found


@pytest.mark.parametrize("answers", [Told(controller=None), Told(brokers=0)])
@proves("kafka.reachable")
def test_a_headless_cluster_fails(answers: Told) -> None:
    assert ask(told(answers), "kafka.reachable").status is Status.FAIL


def over(protocol: str, bootstrap: str) -> Result:
    """Ask about the encryption of a connection that these settings make."""
    login = {"mechanism": "PLAIN", "username": "mill", "password": "canary"} if protocol.startswith("SASL") else {}
    named = {f"kafka_sasl_{name}": value for name, value in login.items()}
    settings = {"kafka_bootstrap": bootstrap, "kafka_security_protocol": protocol, **named}
    return ask(told(Told(), kafka=KafkaSettings.model_validate(settings)), "kafka.tls")


@pytest.mark.parametrize("bootstrap", ["kafka:9092", "127.0.0.1:9092,10.0.0.7:9092", "[fd00::7]:9092", "localhost.x:1"])
@pytest.mark.parametrize(
    ("protocol", "words"), [("PLAINTEXT", "encrypted, records"), ("SASL_PLAINTEXT", "encrypted, the password and")]
)
@proves("kafka.tls")
def test_a_connection_that_others_can_read_is_a_warning(protocol: str, words: str, bootstrap: str) -> None:
    found = over(protocol, bootstrap)
    assert (found.status, words in found.detail) == (Status.WARN, True), found


@pytest.mark.parametrize(
    ("protocol", "bootstrap"),
    [
        ("SSL", "kafka:9092"),
        ("SASL_SSL", "kafka:9092"),
        ("PLAINTEXT", "127.0.0.1:9092, localhost:9093"),
        ("SASL_PLAINTEXT", "[::1]:9092"),
    ],
)
def test_a_connection_that_is_encrypted_or_stays_here_passes(protocol: str, bootstrap: str) -> None:
    found = over(protocol, bootstrap)
    assert found.status is Status.PASS, found


@proves("kafka.topic")
def test_a_partition_without_a_leader_fails() -> None:
    found = ask(told(Told(replace(GOOD, leaderless=(1, 3)))), "kafka.topic")
    assert (found.status, "partitions 1, 3" in found.detail) == (Status.FAIL, True)


@proves("kafka.topic", "kafka.replication")
def test_less_than_was_asked_for_is_found() -> None:
    found = ask_group(told(Told(), partitions=8, replication_factor=5), Group.KAFKA)
    for name, words in (("kafka.topic", "4 partitions instead of 8"), ("kafka.replication", "5 copies are wanted")):
        assert (found[name].status, words in found[name].detail) == (Status.FAIL, True), found


@pytest.mark.parametrize(
    ("replicas", "in_sync", "least", "status"),
    [(3, 1, "2", Status.FAIL), (3, 3, "1", Status.WARN), (1, 1, "1", Status.WARN), (2, 2, "2", Status.WARN)],
)
@proves("kafka.replication")
def test_too_few_copies_are_found(replicas: int, in_sync: int, least: str, status: Status) -> None:
    answers = Told(replace(GOOD, replicas=replicas, in_sync=in_sync), {"min.insync.replicas": least})
    assert ask(told(answers), "kafka.replication").status is status


def test_records_may_stay_for_ever() -> None:
    assert ask(told(Told(set_to={"retention.ms": "-1"})), "kafka.retention").status is Status.PASS


@pytest.mark.parametrize(
    ("set_to", "status"),
    [
        ({"retention.ms": "86400000"}, Status.WARN),
        ({"retention.bytes": "1073741824"}, Status.WARN),
        ({"cleanup.policy": "compact,delete"}, Status.FAIL),
    ],
)
@proves("kafka.retention")
def test_records_that_vanish_early_are_found(set_to: dict[str, str], status: Status) -> None:
    assert ask(told(Told(set_to=set_to)), "kafka.retention").status is status


@pytest.mark.parametrize(("largest", "status"), [("1048576", Status.FAIL), ("2097152", Status.WARN)])
@proves("kafka.record_size")
def test_a_topic_for_smaller_records_is_found(largest: str, status: Status) -> None:
    assert ask(told(Told(set_to={"max.message.bytes": largest})), "kafka.record_size").status is status


@pytest.mark.parametrize(
    ("control", "operations", "words"),
    [(CONTROL, {"WRITE", "DESCRIBE"}, "may DESCRIBE, WRITE"), (None, {"READ", "DESCRIBE"}, "may DESCRIBE, READ")],
)
def test_each_plane_may_what_it_needs(control: ControlSettings | None, operations: set[str], words: str) -> None:
    found = ask_rights(control, operations)
    assert (found.status, words in found.detail) == (Status.PASS, True), found


@pytest.mark.parametrize(
    ("control", "operations", "status", "words"),
    [
        (CONTROL, {"READ", "DESCRIBE"}, Status.FAIL, "control plane needs WRITE"),
        (None, {"WRITE", "DESCRIBE"}, Status.FAIL, "sensor needs READ"),
        (None, set(), Status.FAIL, "may nothing"),
        (CONTROL, {"READ", "WRITE", "DESCRIBE", "DELETE", "ALTER"}, Status.WARN, "also DELETE, ALTER"),
    ],
)
@proves("kafka.rights")
def test_rights_are_judged_by_the_plane(
    control: ControlSettings | None, operations: set[str], status: Status, words: str
) -> None:
    found = ask_rights(control, operations)
    assert (found.status, words in found.detail) == (status, True), found


def ask_rights(control: ControlSettings | None, operations: set[str]) -> Result:
    return ask(told(Told(replace(GOOD, operations=frozenset(operations))), control), "kafka.rights")


DIRECT = ENCRYPTED.model_copy(update={"direct_topics": {"a": "acme", "b": "bolt"}})
READABLE = replace(GOOD, operations=frozenset({"READ", "DESCRIBE"}))


@pytest.mark.parametrize("hidden", [False, True])
def test_direct_topics_that_can_be_read_pass(*, hidden: bool) -> None:
    answers = Told(direct={"a": READABLE, "b": READABLE}, hidden=hidden)
    found = ask(told(answers, None, kafka=DIRECT), "kafka.direct_topics")
    assert (found.status, "'a', 'b'" in found.detail) == (Status.PASS, True), found


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (Told(direct={"a": READABLE}), "'b' cannot be used: topic 'b': Unknown"),
        (Told(direct={"a": READABLE, "b": replace(READABLE, leaderless=(2,))}), "'b' has no leader for partitions 2"),
        (Told(direct={"a": READABLE, "b": replace(GOOD, operations=frozenset())}), "needs DESCRIBE, READ"),
        (Told(direct={"a": READABLE, "b": READABLE}, direct_set_to={"cleanup.policy": "compact"}), "is compacted"),
    ],
)
@proves("kafka.direct_topics")
def test_a_direct_topic_that_cannot_be_read_whole_is_named(answers: Told, words: str) -> None:
    found = ask(told(answers, None, kafka=DIRECT), "kafka.direct_topics")
    assert (found.status, words in found.detail) == (Status.FAIL, True), found
