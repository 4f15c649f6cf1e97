"""Questions to Kafka that only a set-up asks: what the cluster is, how the topic is kept, what our principal may do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, for_code

from contracts.problems import LakemillError
from resources.kafka.client import connect
from resources.settings import KafkaSettings


class KafkaProbeError(LakemillError):
    """Kafka does not answer, refuses us, or has no such topic."""


class SettingsHiddenError(KafkaProbeError):
    """Our principal may not see how the topic is set up."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """The cluster as a broker tells it."""

    id: str
    brokers: int
    controller: int | None


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """The topic as a broker tells it."""

    partitions: int
    leaderless: tuple[int, ...]
    """Partitions that nobody serves now."""
    replicas: int
    """Of the partition with the fewest."""
    in_sync: int
    """Of the partition with the fewest."""
    operations: frozenset[str]
    """What our principal may do with it, in Kafka's words; every operation on a cluster without an authorizer."""


class KafkaAnswers(Protocol):
    """What the doctor asks; ``KafkaProbe`` is one."""

    def cluster(self) -> ClusterFacts:
        """Return the cluster. Raises KafkaProbeError."""

    def topic(self, name: str | None = None) -> TopicFacts:
        """Return a topic, by default the relay's. Raises KafkaProbeError."""

    def configs(self, name: str | None = None) -> Mapping[str, str]:
        """Return a topic's settings, defaults included. Raises SettingsHiddenError, KafkaProbeError."""


class KafkaProbe:
    """One connection to one cluster."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Connect. Raises KafkaProbeError."""
        self._name = settings.kafka_topic
        with _answering(f"{settings.kafka_bootstrap} ({settings.kafka_security_protocol})"):
            self._admin = connect(KafkaAdminClient, settings)

    def cluster(self) -> ClusterFacts:
        """See KafkaAnswers."""
        with _answering("the cluster's description"):
            found = self._admin.describe_cluster()
        controller = found.get("controller_id")
        return ClusterFacts(str(found["cluster_id"]), len(found["brokers"]), None if controller == -1 else controller)

    def topic(self, name: str | None = None) -> TopicFacts:
        """See KafkaAnswers."""
        name = name or self._name
        with _answering(f"topic {name!r}"):
            (found,) = self._admin.describe_topics([name])
            if found["error_code"]:
                raise for_code(found["error_code"])
        parts: list[dict[str, Any]] = found["partitions"]
        return TopicFacts(
            partitions=len(parts),
            leaderless=tuple(sorted(part["partition_index"] for part in parts if part["leader_id"] < 0)),
            replicas=min((len(part["replica_nodes"]) for part in parts), default=0),
            in_sync=min((len(part["isr_nodes"]) for part in parts), default=0),
            operations=frozenset(found.get("authorized_operations") or ()),
        )

    def configs(self, name: str | None = None) -> Mapping[str, str]:
        """See KafkaAnswers."""
        name = name or self._name
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        with _answering(f"the settings of topic {name!r}"):
            told = self._admin.describe_configs([resource], config_filter="all")["topic"].get(name)
        if not told:
            self.topic(name)  # a topic that is not there shows no settings either, and says so
            raise SettingsHiddenError(f"our principal may not see the settings of {name!r} (DescribeConfigs)")
        return {setting: str(entry["value"]) for setting, entry in told.items()}

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()


@contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise KafkaProbeError(f"{what}: {error or type(error).__name__}") from error
