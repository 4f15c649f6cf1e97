"""A log and what can happen to it from outside: in memory, and a topic of a real Apache Kafka."""

import asyncio
import threading
import time
from typing import Any, Protocol
from uuid import uuid4

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from contracts.intake import LogPosition
from resources.kafka.client import KafkaRelay
from resources.kafka.log import KafkaRecordLog
from resources.log import RecordLog, Relay
from resources.settings import KafkaSettings
from tests.memory_log import MemoryLog

MAX_VALUE = 1_000


class World(Protocol):
    """A topic with two partitions, both ports to it, and what can happen to it from outside."""

    @property
    def log(self) -> RecordLog: ...
    @property
    def relay(self) -> Relay: ...
    def write(self, key: bytes | None, value: bytes | None, partition: int = 0) -> LogPosition: ...
    def recreate(self) -> None: ...
    def add_partition(self) -> None: ...
    def drop_before(self, partition: int, offset: int) -> None: ...


class MemoryWorld(MemoryLog):
    def __init__(self) -> None:
        super().__init__(max_value=MAX_VALUE)
        self.log = self.relay = self


class KafkaWorld:
    def __init__(self, bootstrap: str) -> None:
        self.topic = f"lakemill.test.{uuid4()}"
        self.settings = KafkaSettings(
            kafka_bootstrap=bootstrap, kafka_topic=self.topic, kafka_max_record_bytes=MAX_VALUE
        )
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self._producer: Any = None
        self._create()
        self.log = KafkaRecordLog(self.settings)
        self.relay = KafkaRelay(self.settings)

    def _create(self) -> None:
        plan = {self.topic: {"num_partitions": 2, "replication_factor": 1}}
        self._admin.create_topics(plan, wait_for_metadata=True)

    def _id(self) -> str:
        return str(self._admin.describe_topics([self.topic])[0]["topic_id"])

    def write(self, key: bytes | None, value: bytes | None, partition: int = 0) -> LogPosition:
        self._producer = self._producer or KafkaProducer(bootstrap_servers=self.settings.kafka_bootstrap)
        done = self._producer.send(self.topic, key=key, value=value, partition=partition).get(10)
        return LogPosition(topic_id=self._id(), partition=partition, offset=done.offset)

    def recreate(self) -> None:
        self._admin.delete_topics([self.topic])
        eventually(lambda: self._admin.describe_topics([self.topic])[0]["error_code"] != 0)
        self._create()
        self._close_producer()

    def add_partition(self) -> None:
        self._admin.create_partitions({self.topic: 3})
        eventually(lambda: len(self._admin.describe_topics([self.topic])[0]["partitions"]) == 3)
        self._admin.wait_for_topics([self.topic])
        self._close_producer()

    def drop_before(self, partition: int, offset: int) -> None:
        self._admin.delete_records({TopicPartition(self.topic, partition): offset})

    def _close_producer(self) -> None:
        producer, self._producer = self._producer, None  # a new one knows the new partitions
        if producer is not None:
            producer.close(timeout=2)

    def close(self) -> None:
        self._close_producer()
        self.log.close()
        asyncio.run(self.relay.close())
        self._admin.close()


def eventually(holds: Any, seconds: float = 10.0) -> None:
    deadline, waiting = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < deadline
        waiting.wait(0.05)


def fresh_log(world: World) -> RecordLog:
    return KafkaRecordLog(world.settings) if isinstance(world, KafkaWorld) else world.log
