"""The judgement of what Kafka tells, without Kafka."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from cli.doctor import kafka
from cli.doctor.check import Result, Status
from cli.doctor.site import Options, Site
from resources.kafka_probe import ClusterFacts, KafkaAnswers, TopicFacts
from resources.settings import ControlSettings, KafkaSettings
from tests.doctor import proves

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
CONTROL = ControlSettings.model_construct()


@dataclass
class Told:
    """Kafka as a list of facts."""

    found: TopicFacts = GOOD
    set_to: Mapping[str, str] = field(default_factory=dict)
    brokers: int = 3
    controller: int | None = 1

    def cluster(self) -> ClusterFacts:
        return ClusterFacts("cluster", self.brokers, self.controller)

    def topic(self) -> TopicFacts:
        return self.found

    def configs(self) -> Mapping[str, str]:
        return {**CONFIGS, **self.set_to}


def ask(judge: Callable[[Site, KafkaAnswers], Result], told: Told, control: ControlSettings | None = CONTROL) -> Result:
    return judge(Site(Options(), kafka=KafkaSettings(kafka_bootstrap="kafka:9092"), control=control), told)


@pytest.mark.parametrize(
    "judge", [kafka.reachable, kafka.topic, kafka.replication, kafka.retention, kafka.record_size, kafka.rights]
)
def test_a_good_cluster_passes(judge: Callable[[Site, KafkaAnswers], Result]) -> None:
    assert ask(judge, Told()).status is Status.PASS


@pytest.mark.parametrize("told", [Told(controller=None), Told(brokers=0)])
@proves("kafka.reachable")
def test_a_headless_cluster_fails(told: Told) -> None:
    assert ask(kafka.reachable, told).status is Status.FAIL


@proves("kafka.topic")
def test_a_partition_without_a_leader_fails() -> None:
    found = ask(kafka.topic, Told(replace(GOOD, leaderless=(1, 3))))
    assert (found.status, "partitions 1, 3" in found.detail) == (Status.FAIL, True)


@pytest.mark.parametrize(
    ("judge", "words"),
    [(kafka.topic, "4 partitions instead of 8"), (kafka.replication, "5 copies are wanted")],
)
@proves("kafka.topic", "kafka.replication")
def test_less_than_was_asked_for_is_found(judge: Callable[[Site, KafkaAnswers], Result], words: str) -> None:
    wanted = Site(Options(partitions=8, replication_factor=5), kafka=KafkaSettings(kafka_bootstrap="kafka:9092"))
    found = judge(wanted, Told())
    assert (found.status, words in found.detail) == (Status.FAIL, True), found


@pytest.mark.parametrize(
    ("replicas", "in_sync", "least", "status"),
    [
        (3, 3, "2", Status.PASS),
        (3, 1, "2", Status.FAIL),
        (3, 3, "1", Status.WARN),
        (1, 1, "1", Status.WARN),
        (2, 2, "2", Status.WARN),
    ],
)
@proves("kafka.replication")
def test_too_few_copies_are_found(replicas: int, in_sync: int, least: str, status: Status) -> None:
    told = Told(replace(GOOD, replicas=replicas, in_sync=in_sync), {"min.insync.replicas": least})
    assert ask(kafka.replication, told).status is status


@pytest.mark.parametrize(
    ("set_to", "status"),
    [
        ({"retention.ms": "-1"}, Status.PASS),
        ({"retention.ms": "86400000"}, Status.WARN),
        ({"retention.bytes": "1073741824"}, Status.WARN),
        ({"cleanup.policy": "compact,delete"}, Status.FAIL),
    ],
)
@proves("kafka.retention")
def test_records_that_vanish_early_are_found(set_to: dict[str, str], status: Status) -> None:
    assert ask(kafka.retention, Told(set_to=set_to)).status is status


@pytest.mark.parametrize(("largest", "status"), [("1048576", Status.FAIL), ("2097152", Status.WARN)])
@proves("kafka.record_size")
def test_a_topic_for_smaller_records_is_found(largest: str, status: Status) -> None:
    assert ask(kafka.record_size, Told(set_to={"max.message.bytes": largest})).status is status


@pytest.mark.parametrize(
    ("control", "operations", "status", "words"),
    [
        (CONTROL, {"WRITE", "DESCRIBE"}, Status.PASS, "may DESCRIBE, WRITE"),
        (None, {"READ", "DESCRIBE"}, Status.PASS, "may DESCRIBE, READ"),
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
    found = ask(kafka.rights, Told(replace(GOOD, operations=frozenset(operations))), control)
    assert (found.status, words in found.detail) == (status, True), found
