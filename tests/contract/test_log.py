"""One behaviour for the log, whatever it is made of: the fake and a real Apache Kafka."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from contracts.cursor import Cursor
from contracts.intake import LogPosition, LogRecord
from resources.kafka.client import KafkaRelay
from resources.kafka.log import KafkaRecordLog
from resources.log import OutgoingRecord, RecordLogError
from resources.settings import KafkaSettings
from tests.contract.log_worlds import MAX_VALUE, KafkaWorld, MemoryWorld, World, eventually, fresh_log
from tests.kafka_server import kafka


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with kafka() as address:
        yield address


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    real = KafkaWorld(request.getfixturevalue("bootstrap"))
    yield real
    real.close()


def publish(world: World, *values: bytes, key: bytes = b"k") -> list[LogPosition | None]:
    return asyncio.run(world.relay.publish([OutgoingRecord(key, value) for value in values]))


def drain(world: World, cursor: Cursor, count: int, max_records: int = 500) -> tuple[list[LogRecord], Cursor]:
    """Poll until ``count`` records came: a poll may return fewer than there are."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + 20
    while len(records) < count:
        assert time.monotonic() < deadline
        polled = world.log.poll(cursor, wait_seconds=1, max_records=max_records)
        assert len(polled.records) <= max_records
        records, cursor = records + polled.records, polled.cursor
    return records, cursor


def values(records: list[LogRecord]) -> list[bytes | None]:
    return [record.value for record in records]


def test_what_was_acknowledged_is_read_at_that_position_and_in_order(world: World) -> None:
    acked = publish(world, b"1", b"2", b"3")
    records, _ = drain(world, Cursor(), 3)
    assert values(records) == [b"1", b"2", b"3"]
    assert [record.position for record in records] == acked


def test_publishing_nothing_does_nothing(world: World) -> None:
    assert publish(world) == []


def test_an_empty_log_answers_after_the_wait_and_says_where_it_stands(world: World) -> None:
    began = time.monotonic()
    polled = world.log.poll(Cursor(), wait_seconds=0.5, max_records=10)
    assert 0.4 <= time.monotonic() - began < 5
    assert (polled.records, polled.gaps) == ([], [])
    (place,) = polled.cursor.topics.values()
    assert place.next_offsets == {0: 0, 1: 0}


def test_a_long_poll_ends_when_a_record_comes(world: World) -> None:
    cursor = world.log.poll(Cursor(), wait_seconds=0, max_records=10).cursor
    writer = threading.Timer(0.5, lambda: world.write(b"k", b"late"))
    writer.start()
    began = time.monotonic()
    polled = world.log.poll(cursor, wait_seconds=15, max_records=10)
    writer.join()
    assert values(polled.records) == [b"late"]
    assert time.monotonic() - began < 5


def test_the_cursor_goes_on_behind_what_was_read_and_can_be_repeated(world: World) -> None:
    for number in range(5):
        world.write(b"k", b"%d" % number)
    first, after_first = drain(world, Cursor(), 2, max_records=2)
    again, _ = drain(world, Cursor(), 2, max_records=2)
    rest, end = drain(world, after_first, 3)
    assert values(first) == values(again) == [b"0", b"1"]
    assert values(rest) == [b"2", b"3", b"4"]
    assert world.log.poll(end, wait_seconds=0.2, max_records=10).records == []


def test_bytes_arrive_as_they_were_written(world: World) -> None:
    for value in (b"", b"\x00\xff{", None, b'{"a":1,"a":2}'):
        world.write(b"k", value)
    records, _ = drain(world, Cursor(), 4)
    assert values(records) == [b"", b"\x00\xff{", None, b'{"a":1,"a":2}']


def test_an_oversized_value_is_cut_and_says_so(world: World) -> None:
    world.write(None, b"x" * (MAX_VALUE + 1))
    world.write(None, b"x" * MAX_VALUE)
    (cut, whole), _ = drain(world, Cursor(), 2)
    assert (cut.truncated_from, len(cut.value or b"")) == (MAX_VALUE + 1, MAX_VALUE)
    assert (whole.truncated_from, len(whole.value or b"")) == (None, MAX_VALUE)


def test_a_new_partition_is_noticed(world: World) -> None:
    world.write(b"k", b"old")
    _, cursor = drain(world, Cursor(), 1)
    world.add_partition()
    world.write(b"k", b"new", partition=2)
    records, _ = drain(world, cursor, 1)
    assert records[0].position.partition == 2


def test_a_recreated_topic_is_read_from_its_start_under_its_own_id(world: World) -> None:
    for value in (b"1", b"2", b"3"):
        world.write(b"k", value)
    before, cursor = drain(world, Cursor(), 3)
    world.recreate()
    position = world.write(b"k", b"new")
    records, after = drain(world, cursor, 1)
    assert values(records) == [b"new"]
    assert records[0].position == position
    assert position.topic_id != before[0].position.topic_id
    assert position.topic_id == next(iter(after.topics.values())).topic_id


def test_what_retention_dropped_is_a_gap_and_reading_goes_on_at_the_start(world: World) -> None:
    for number in range(6):
        world.write(b"k", b"%d" % number)
    _, cursor = drain(world, Cursor(), 2, max_records=2)
    world.drop_before(0, 4)
    # A consumer may have read ahead: the gap is judged by what the log still has, so begin with a new one.
    polled = fresh_log(world).poll(cursor, wait_seconds=5, max_records=10)
    (gap,) = polled.gaps
    assert (gap.partition, gap.expected, gap.found) == (0, 2, 4)
    assert values(polled.records) == [b"4", b"5"]
    assert fresh_log(world).poll(polled.cursor, wait_seconds=0.2, max_records=10).gaps == []


def test_a_cursor_beyond_the_end_goes_back_to_the_start(world: World) -> None:
    world.write(b"k", b"1")
    _, cursor = drain(world, Cursor(), 1)
    (name,) = cursor.topics
    place = cursor.topics[name].model_copy(update={"next_offsets": {0: 900, 1: 0}})
    polled = fresh_log(world).poll(Cursor(topics={name: place}), wait_seconds=5, max_records=10)
    assert [(gap.expected, gap.found) for gap in polled.gaps] == [(900, 0)]
    assert values(polled.records) == [b"1"]


def test_a_relay_never_reports_a_position_under_the_id_of_a_deleted_topic(world: World) -> None:
    old = publish(world, b"1")
    world.recreate()
    publish(world, b"2")  # may be unknown, may carry the new id; never the old one
    (position,) = publish(world, b"2")
    assert position is not None
    assert old[0] is not None
    assert position.topic_id != old[0].topic_id
    records, _ = drain(world, Cursor(), 1)
    assert position.topic_id == records[0].position.topic_id


class TestAbsentBroker:
    """What only the real clients can do wrong."""

    settings = KafkaSettings(kafka_bootstrap="127.0.0.1:1", kafka_topic="t")

    def test_reading_fails_with_a_sentence_and_leaves_no_thread(self) -> None:
        log, before = KafkaRecordLog(self.settings), threading.active_count()
        with pytest.raises(RecordLogError, match="is Kafka running"):
            log.poll(Cursor(), wait_seconds=0.1, max_records=1)
        eventually(lambda: threading.active_count() <= before)

    def test_publishing_answers_unknown(self) -> None:
        relay = KafkaRelay(self.settings)
        assert asyncio.run(relay.publish([OutgoingRecord(b"k", b"v")])) == [None]

    def test_a_missing_topic_is_named(self, bootstrap: str) -> None:
        log = KafkaRecordLog(KafkaSettings(kafka_bootstrap=bootstrap, kafka_topic="absent"))
        with pytest.raises(RecordLogError, match="'absent' does not exist"):
            log.poll(Cursor(), wait_seconds=0.1, max_records=1)
