"""One consumer of one incarnation of one topic: assign, seek, and read a little more than nothing."""

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from contracts.cursor import Cursor, TopicPosition
from contracts.intake import MAX_HEADERS, MAX_HEADERS_BYTES, LogGap, LogHeader, LogPosition, LogRecord
from resources.kafka.client import CONNECT_MS, connect
from resources.log import Polled
from resources.settings import KafkaSettings

MAX_POLL_BYTES = 8 * 1024 * 1024
"""Of keys, values and headers in one read: the sensor sends them on in one request. One record may be larger by
itself."""

log = structlog.get_logger(__name__)


class TopicReader:
    """One consumer bound to one incarnation of a topic."""

    def __init__(self, settings: KafkaSettings, name: str, topic_id: str) -> None:
        self.topic_id = topic_id
        self._name = name
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

    def read(self, start: Mapping[int, int], wait_seconds: float, max_records: int, max_bytes: int) -> Polled:
        """Return up to ``max_records`` from ``start`` (partition → offset) on. Raises KafkaError."""
        places, gaps = dict(start), list[LogGap]()
        self._seek(places)
        batches = self._fetch(places, gaps, monotonic() + wait_seconds, max_records)
        records = list(self._within_budget(batches, max_bytes))
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
            log.error("log.gap", **gap.model_dump())
            gaps.append(gap)
            places[tp.partition] = found
            self._consumer.seek(tp, found)

    def _within_budget(self, batches: Mapping[TopicPartition, list[Any]], max_bytes: int) -> Iterator[LogRecord]:
        left = max_bytes
        for batch in batches.values():
            for raw in batch:
                record = self._record(raw)
                size = len(record.key or b"") + len(record.value or b"") + _size(record.headers)
                if size > left and left < max_bytes:
                    return
                left -= size
                yield record

    def _record(self, raw: Any) -> LogRecord:
        value, limit = raw.value, self._max_value
        oversized = value is not None and len(value) > limit
        headers = _headers(raw.headers)
        return LogRecord(
            topic=raw.topic,
            position=LogPosition(topic_id=self.topic_id, partition=raw.partition, offset=raw.offset),
            key=raw.key[:limit] if raw.key is not None else None,
            value=value[:limit] if oversized else value,
            truncated_from=len(value) if oversized else None,
            headers=headers,
            headers_left_out=len(raw.headers) - len(headers),
        )

    def close(self) -> None:
        """Close the consumer within two seconds."""
        self._consumer.close(autocommit=False, timeout_ms=2_000)


def _headers(raw: Sequence[tuple[str, bytes | None]]) -> tuple[LogHeader, ...]:
    """Return the first of them, as many as a record may carry."""
    carried, left = list[LogHeader](), MAX_HEADERS_BYTES
    for name, value in raw[:MAX_HEADERS]:
        header = LogHeader(name=name.encode(), value=value)
        left -= _size([header])
        if left < 0:
            break
        carried.append(header)
    return tuple(carried)


def _size(headers: Sequence[LogHeader]) -> int:
    return sum(len(header.name) + len(header.value or b"") for header in headers)
