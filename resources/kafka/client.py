"""Apache Kafka: how clients are built, and the writing side (``log.py`` reads, ``resources.log`` has the ports)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from contracts.intake import LogPosition
from resources.faults import crash_point
from resources.kafka.security import WatchedNetwork, security_options
from resources.log import OutgoingRecord, RecordLogError
from resources.settings import KafkaSettings

CONNECT_MS = 5_000
DELIVERY_MS = 10_000
CLOSE_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    """One incarnation of a topic, as the broker describes it now."""

    id: str
    partitions: tuple[int, ...]


def connect(client: Callable[..., Any], settings: KafkaSettings, **config: Any) -> Any:
    """Build a Kafka client. Raises KafkaError when no broker answers within five seconds, BrokerRefusedError for TLS
    and SASL, KafkaConfigurationError for a CA file that cannot be read.

    A constructor that fails keeps its network thread running, so the network client is closed here.
    """
    networks: list[WatchedNetwork] = []

    def network(**options: Any) -> WatchedNetwork:
        networks.append(WatchedNetwork(**options))
        return networks[-1]

    try:
        return client(
            bootstrap_servers=settings.kafka_bootstrap.split(","),
            bootstrap_timeout_ms=CONNECT_MS,
            request_timeout_ms=CONNECT_MS,
            reconnect_backoff_max_ms=1_000,
            kafka_client=network,
            **security_options(settings),
            **config,
        )
    except BaseException as error:
        for opened in networks:
            opened.close()
        if isinstance(error, KafkaError) and networks:
            raise networks[-1].explain(error, settings) from error
        raise


class Topics:
    """Asks the broker which incarnations of topics it has now: never from a cache."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._name = settings.kafka_topic
        self._admin = connect(KafkaAdminClient, settings)

    def describe(self) -> Topic:
        """Return the relay's topic. Raises RecordLogError when there is none, KafkaError when no broker answers."""
        return relays_own(self.present([self._name]), self._name)

    def present(self, names: Sequence[str]) -> dict[str, Topic]:
        """Return those of ``names`` that exist and that we may see, by one question. Raises KafkaError."""
        return {
            found["name"]: Topic(
                found["topic_id"], tuple(sorted(part["partition_index"] for part in found["partitions"]))
            )
            for found in self._admin.describe_topics(list(names))
            if found["error_code"] == 0 and found["topic_id"] is not None
        }

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()


def relays_own(topics: Mapping[str, Topic], name: str) -> Topic:
    """Return the relay's topic ``name``. Raises RecordLogError when it is not among ``topics``."""
    if name not in topics:
        raise RecordLogError(f"topic {name!r} does not exist on the broker: run 'lakemill topics ensure'")
    return topics[name]


class KafkaRelay:
    """An idempotent producer with acks=all, made at the first publish and made anew after any error.

    A position is reported only when the topic had the same id before the first send and after the last acknowledgement:
    ids are never used twice, so the acknowledged offsets belong to that id and to no recreated topic.
    All of it happens on one thread of its own: nothing else can hold up a publish, and publishes follow one another.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-relay")
        self._link: _ProducerLink | None = None
        self._is_away = False

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        """Send all records and wait for their acknowledgements, about 12 s at most, off the event loop."""
        if not records:
            return []
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._publish, records)

    async def close(self) -> None:
        """Close the producer, within a few seconds unless a publish is under way. Nothing can be published then."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        try:
            if self._link is None:
                self._link = _ProducerLink(self._settings)
            positions = self._link.send(records)
        except (KafkaError, RecordLogError, OSError) as error:
            if not self._is_away:  # told when it changes, not at every try
                log.warning("relay.unavailable", error=str(error), records=len(records))
            self._is_away = True
            positions = [None] * len(records)
        else:
            self._is_away = False
        if None in positions:
            self._drop()
        return positions

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


class _ProducerLink:
    """One producer session, bound to one incarnation of the topic."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._name = settings.kafka_topic
        self._has_failed = False
        self._topics = Topics(settings)
        try:
            self._topic_id = self._topics.describe().id
            self._producer = connect(
                KafkaProducer,
                settings,
                acks="all",
                enable_idempotence=True,  # explicit, so that a conflicting setting raises instead of turning it off
                max_block_ms=10_000,
                delivery_timeout_ms=DELIVERY_MS,
                allow_auto_create_topics=False,
            )
        except BaseException:
            self._topics.close()
            raise

    def send(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        """Send and await all. Raises KafkaError when even that could not be tried."""
        futures = [self._producer.send(self._name, key=record.key, value=record.value) for record in records]
        crash_point("R2")
        # The producer fails what it cannot deliver in time, so waiting a little longer leaves nothing open.
        deadline = monotonic() + DELIVERY_MS / 1000 + CLOSE_SECONDS
        positions = [self._position(future, deadline) for future in futures]
        now = self._topics.describe()
        if now.id != self._topic_id:
            log.error("log.topic_recreated", topic=self._name, was=self._topic_id, now=now.id, unconfirmed=len(records))
            return [None] * len(records)
        return positions

    def _position(self, future: Any, deadline: float) -> LogPosition | None:
        try:
            metadata = future.get(timeout=max(0.0, deadline - monotonic()))
        except KafkaError as error:
            if not self._has_failed:  # once: a link is not used again after a failure
                log.warning("relay.unconfirmed", error=str(error))
            self._has_failed = True
            return None
        return LogPosition(topic_id=self._topic_id, partition=metadata.partition, offset=metadata.offset)

    def close(self) -> None:
        """Close both connections; a producer that cannot finish in time is left to its own delivery timeout."""
        try:
            self._producer.close(timeout=CLOSE_SECONDS)
        except KafkaError as error:
            log.warning("relay.not_closed", error=str(error))
        self._topics.close()
