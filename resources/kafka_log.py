"""The reading side of the log: assign and seek from a cursor, without a consumer group."""

import os
from collections.abc import Iterator, Mapping
from threading import Lock
from time import monotonic
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from contracts.cursor import Cursor, TopicPosition
from contracts.intake import LogGap, LogPosition, LogRecord
from resources.kafka import CONNECT_MS, Topic, Topics, connect
from resources.kafka_security import BrokerRefusedError
from resources.log import Polled, RecordLogError
from resources.settings import KafkaSettings

MAX_POLL_BYTES = 8 * 1024 * 1024
"""Of keys and values in one poll: the sensor sends them on in one request. One record may be larger by itself."""
BUSY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class KafkaRecordLog:
    """One consumer, kept between polls, closed after any error and built anew at the next poll.

    A record's topic id is sure: the id is asked for before and after reading, and ids are never used twice.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._topics: Topics | None = None
        self._reader: _Reader | None = None

    def poll(self, cursor: Cursor, *, wait_seconds: float, max_records: int) -> Polled:
        """Read what follows the cursor. Raises RecordLogError; the cursor can be tried again."""
        if self._pid != os.getpid():
            self._forget()  # after a fork the parent's consumer has no network thread, and its lock no owner
        # A tick that the daemon gave up may still be reading: the consumer is not for two threads.
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise RecordLogError("another poll is still reading the log: it ends within the poll's own time limit")
        try:
            return self._poll(cursor, wait_seconds, max_records)
        except BrokerRefusedError as error:
            self._close()
            raise RecordLogError(f"the log cannot be read: {error}") from error
        except (KafkaError, OSError) as error:
            self._close()
            raise RecordLogError(f"the log cannot be read: {error}; is Kafka running and reachable?") from error
        except BaseException:
            self._close()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the consumer; the next poll makes a new one."""
        with self._lock:
            self._close()

    def _poll(self, cursor: Cursor, wait_seconds: float, max_records: int) -> Polled:
        self._topics = self._topics or Topics(self._settings)
        topic = self._topics.describe()
        if self._reader is None or self._reader.topic_id != topic.id:
            self._close_reader()
            self._reader = _Reader(self._settings, topic.id)
        start = _start(cursor, self._settings.kafka_topic, topic)
        polled = self._reader.read(start, wait_seconds, max_records)
        if self._topics.describe().id != topic.id:
            log.warning("topic_recreated_while_reading", topic=self._settings.kafka_topic, was=topic.id)
            self._close_reader()
            return Polled([], cursor, [])
        return Polled(
            polled.records, cursor.model_copy(update={"topics": cursor.topics | polled.cursor.topics}), polled.gaps
        )

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _close(self) -> None:
        self._close_reader()
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()


def _start(cursor: Cursor, name: str, topic: Topic) -> dict[int, int]:
    """Return partition → first offset to read. A partition without a place starts at 0, so what is missing is a gap."""
    known = cursor.topics.get(name)
    if known is not None and known.topic_id != topic.id:
        log.error("topic_recreated", topic=name, was=known.topic_id, now=topic.id)
        known = None
    places: Mapping[int, int] = known.next_offsets if known else {}
    return {partition: places.get(partition, 0) for partition in topic.partitions}


class _Reader:
    """One consumer bound to one incarnation of the topic."""

    def __init__(self, settings: KafkaSettings, topic_id: str) -> None:
        self.topic_id = topic_id
        self._name = settings.kafka_topic
        self._max_value = settings.kafka_max_record_bytes
        self._at: dict[
            int, int
        ] = {}  # where the consumer stands; it reads ahead, so seek only when it stands elsewhere
        self._consumer = connect(
            KafkaConsumer,
            settings,
            group_id=None,
            auto_offset_reset="none",  # anything else would skip records in silence
            enable_auto_commit=False,
            isolation_level="read_committed",
            check_crcs=True,
            fetch_max_bytes=MAX_POLL_BYTES,
            allow_auto_create_topics=False,
        )

    def read(self, start: dict[int, int], wait_seconds: float, max_records: int) -> Polled:
        """Return up to ``max_records`` from ``start`` on. Raises KafkaError."""
        places, gaps = dict(start), list[LogGap]()
        self._seek(places)
        batches = self._fetch(places, gaps, monotonic() + wait_seconds, max_records)
        records = list(self._within_budget(batches))
        for record in records:
            places[record.position.partition] = record.position.offset + 1
        self._at = {tp.partition: batch[-1].offset + 1 for tp, batch in batches.items()}
        self._at = {**places, **self._at}
        place = TopicPosition(topic_id=self.topic_id, next_offsets=places)
        return Polled(records, Cursor(topics={self._name: place}), gaps)

    def _seek(self, places: dict[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._name, partition) for partition in places])
        for partition, offset in places.items():
            if self._at.get(partition) != offset:
                self._consumer.seek(TopicPartition(self._name, partition), offset)

    def _fetch(
        self, places: dict[int, int], gaps: list[LogGap], deadline: float, max_records: int
    ) -> dict[TopicPartition, list[Any]]:
        while True:
            wait_ms = max(0, int((deadline - monotonic()) * 1000))
            try:
                return dict(self._consumer.poll(timeout_ms=wait_ms, max_records=max_records))
            except OffsetOutOfRangeError as error:
                self._to_log_start(error.args[0], places, gaps)
            except LogTruncationError as error:
                self._to_log_start(error.divergent_offsets, places, gaps)

    def _to_log_start(
        self, missing: Mapping[TopicPartition, object], places: dict[int, int], gaps: list[LogGap]
    ) -> None:
        for tp, found in self._consumer.beginning_offsets(list(missing), timeout_ms=CONNECT_MS).items():
            gap = LogGap(
                topic=self._name,
                topic_id=self.topic_id,
                partition=tp.partition,
                expected=places[tp.partition],
                found=found,
            )
            log.error("log_gap", **gap.model_dump())
            gaps.append(gap)
            places[tp.partition] = found
            self._consumer.seek(tp, found)

    def _within_budget(self, batches: Mapping[TopicPartition, list[Any]]) -> Iterator[LogRecord]:
        left = MAX_POLL_BYTES
        for batch in batches.values():
            for raw in batch:
                record = self._record(raw)
                size = len(record.key or b"") + len(record.value or b"")
                if size > left and left < MAX_POLL_BYTES:
                    return
                left -= size
                yield record

    def _record(self, raw: Any) -> LogRecord:
        value, limit = raw.value, self._max_value
        oversized = value is not None and len(value) > limit
        return LogRecord(
            topic=raw.topic,
            position=LogPosition(topic_id=self.topic_id, partition=raw.partition, offset=raw.offset),
            key=raw.key[:limit] if raw.key is not None else None,
            value=value[:limit] if oversized else value,
            truncated_from=len(value) if oversized else None,
        )

    def close(self) -> None:
        """Close the consumer within two seconds."""
        self._consumer.close(autocommit=False, timeout_ms=2_000)
