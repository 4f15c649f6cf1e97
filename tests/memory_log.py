"""The log as a fake: both ports over one list per partition, with the accidents that the real one can have."""

from collections.abc import Collection, Sequence
from threading import Condition
from time import monotonic
from uuid import uuid4
from zlib import crc32

from contracts.cursor import Cursor, TopicPosition
from contracts.intake import LogGap, LogPosition, LogRecord
from resources.log import OutgoingRecord, Partition, Polled, RecordLogError


class MemoryLog:
    """RecordLog and Relay. ``broken`` makes every call fail like a broker that is away."""

    def __init__(self, topic: str = "lakemill.processes", partitions: int = 2, max_value: int = 1_048_576) -> None:
        self.topic = topic
        self.max_value = max_value
        self.broken = False
        self.polls: list[Cursor] = []
        self._changed = Condition()
        self.recreate(partitions)

    def recreate(self, partitions: int = 2) -> None:
        """Delete the topic and create it anew: another id, offsets from 0."""
        with self._changed:
            self.topic_id = str(uuid4())
            self._records: list[list[OutgoingRecord | None]] = [[] for _ in range(partitions)]
            self._starts = [0] * partitions

    def add_partition(self) -> None:
        """Grow the topic by one partition."""
        self._records.append([])
        self._starts.append(0)

    def drop_before(self, partition: int, offset: int) -> None:
        """Let retention remove the records before ``offset``."""
        self._starts[partition] = offset

    @property
    def starts(self) -> list[int]:
        """The first offset of each partition that retention has left."""
        return list(self._starts)

    @property
    def ends(self) -> list[int]:
        """The offset behind the last record of each partition."""
        return [len(written) for written in self._records]

    def records(self, partition: int) -> list[OutgoingRecord]:
        """Everything that was ever written to a partition."""
        return [record for record in self._records[partition] if record is not None]

    def write(self, key: bytes | None, value: bytes | None, partition: int = 0) -> LogPosition:
        """Append anything, as a foreign producer could."""
        with self._changed:
            self._records[partition].append(OutgoingRecord(key, value))  # type: ignore[arg-type]  # a tombstone is legal
            self._changed.notify_all()
            return LogPosition(topic_id=self.topic_id, partition=partition, offset=len(self._records[partition]) - 1)

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        """See Relay."""
        if self.broken:
            return [None] * len(records)
        return [self.write(record.key, record.value, crc32(record.key) % len(self._records)) for record in records]

    async def close(self) -> None:
        """See Relay."""

    def poll(
        self, cursor: Cursor, *, wait_seconds: float, max_records: int, held: Collection[Partition] = ()
    ) -> Polled:
        """See RecordLog."""
        self.polls.append(cursor)
        if self.broken:
            raise RecordLogError("the log is away")
        deadline = monotonic() + wait_seconds
        with self._changed:
            while True:
                polled = self._read(cursor, max_records, held)
                left = deadline - monotonic()
                if polled.records or polled.gaps or left <= 0:
                    return polled
                self._changed.wait(left)

    def _read(self, cursor: Cursor, max_records: int, held: Collection[Partition]) -> Polled:
        place = cursor.topics.get(self.topic)
        known = place.next_offsets if place is not None and place.topic_id == self.topic_id else {}
        offsets, gaps, records = {}, list[LogGap](), list[LogRecord]()
        for partition, written in enumerate(self._records):
            expected, start = known.get(partition, 0), self._starts[partition]
            if (self.topic, partition) in held:
                offsets[partition] = expected
                continue
            found = expected if start <= expected <= len(written) else start
            if found != expected:
                gaps.append(self._gap(partition, expected, found))
            taken = written[found : found + max_records - len(records)]
            records += [self._record(partition, found + index, record) for index, record in enumerate(taken)]
            offsets[partition] = found + len(taken)
        here = TopicPosition(topic_id=self.topic_id, next_offsets=offsets)
        return Polled(records, Cursor(topics={**cursor.topics, self.topic: here}), gaps)

    def _gap(self, partition: int, expected: int, found: int) -> LogGap:
        return LogGap(topic=self.topic, topic_id=self.topic_id, partition=partition, expected=expected, found=found)

    def _record(self, partition: int, offset: int, record: OutgoingRecord | None) -> LogRecord:
        assert record is not None
        value = record.value
        oversized = value is not None and len(value) > self.max_value
        return LogRecord(
            topic=self.topic,
            position=LogPosition(topic_id=self.topic_id, partition=partition, offset=offset),
            key=record.key,
            value=value[: self.max_value] if oversized else value,
            truncated_from=len(value) if oversized else None,
        )


class MemoryTopics:
    """RecordLog over the relay's topic and direct ones. ``held`` keeps what each poll was told to leave alone."""

    def __init__(self, relay: MemoryLog, *direct: MemoryLog) -> None:
        self.logs = [relay, *direct]
        self.held: list[set[Partition]] = []

    def poll(
        self, cursor: Cursor, *, wait_seconds: float, max_records: int, held: Collection[Partition] = ()
    ) -> Polled:
        """See RecordLog; here each topic is waited for in turn."""
        self.held.append(set(held))
        found = Polled([], cursor, [])
        for log in self.logs:
            polled = log.poll(found.cursor, wait_seconds=wait_seconds, max_records=max_records, held=held)
            found = Polled(found.records + polled.records, polled.cursor, found.gaps + polled.gaps)
        return found
