"""The reading side of the log: assign and seek from a cursor, without a consumer group.

Each topic has a consumer of its own, so that a direct topic which is busy, missing or broken takes nothing from the
relay's topic and from the others.
"""

import os
from collections.abc import Collection, Mapping
from threading import Lock
from time import monotonic, sleep

import structlog
from kafka.errors import KafkaError

from contracts.cursor import Cursor
from resources.kafka.client import Topic, Topics, relays_own
from resources.kafka.security import BrokerRefusedError
from resources.kafka.topic import MAX_POLL_BYTES, TopicReader
from resources.log import Partition, Polled, RecordLogError
from resources.settings import KafkaSettings

BUSY_SECONDS = 5.0
SLICE_SECONDS = 0.5
"""Where there are direct topics, they are looked at each so often while the relay's topic is waited for."""
REST_SECONDS = 30.0
"""A direct topic that could not be read is left alone for so long: a failure may cost a timeout."""

log = structlog.get_logger(__name__)


class KafkaRecordLog:
    """Consumers that are kept between polls; any error closes its consumer, and the next poll makes a new one.

    A record's topic id is sure: the id is asked for before and after reading, and ids are never used twice.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._topics: Topics | None = None
        self._readers: dict[str, TopicReader] = {}
        self._resting: dict[str, float] = {}
        self._missing = frozenset[str]()

    def poll(
        self, cursor: Cursor, *, wait_seconds: float, max_records: int, held: Collection[Partition] = ()
    ) -> Polled:
        """Read what follows the cursor. Raises RecordLogError; the cursor can be tried again."""
        if self._pid != os.getpid():
            self._forget()  # after a fork the parent's consumer has no network thread, and its lock no owner
        # A tick that the daemon gave up may still be reading: the consumer is not for two threads.
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise RecordLogError("another poll is still reading the log: it ends within the poll's own time limit")
        try:
            return self._poll(cursor, wait_seconds, max_records, held)
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
        """Close the consumers; the next poll makes new ones."""
        with self._lock:
            self._close()

    def _poll(self, cursor: Cursor, wait_seconds: float, max_records: int, held: Collection[Partition]) -> Polled:
        self._topics = self._topics or Topics(self._settings)
        names = [self._settings.kafka_topic, *self._settings.direct_topics]
        topics = self._topics.present(names)
        relays_own(topics, self._settings.kafka_topic)
        self._tell_missing(topics)
        starts = {name: _start(cursor, name, topic) for name, topic in topics.items()}
        wanted = {
            name: {at: offset for at, offset in start.items() if (name, at) not in held}
            for name, start in starts.items()
        }
        found = self._read(topics, wanted, wait_seconds, max_records)
        now = self._topics.present(names)
        result = Polled([], cursor, [])
        for name, polled in found.items():
            if name not in now or now[name].id != topics[name].id:
                log.warning("log.topic_recreated_while_reading", topic=name, was=topics[name].id)
                self._close_reader(name)
            else:
                result = _joined(result, name, starts[name], polled)
        return result

    def _read(
        self, topics: Mapping[str, Topic], wanted: Mapping[str, dict[int, int]], wait_seconds: float, max_records: int
    ) -> dict[str, Polled]:
        """Return what each topic has, as soon as one has something."""
        relays, deadline = self._settings.kafka_topic, monotonic() + wait_seconds
        while True:
            left = max(0.0, deadline - monotonic())
            direct = [name for name in topics if name != relays and wanted[name] and self._is_rested(name)]
            wait = min(left, SLICE_SECONDS) if direct else left
            found: dict[str, Polled] = {}
            if wanted[relays]:
                reader = self._reader(relays, topics[relays])
                found[relays] = reader.read(wanted[relays], wait, max_records, MAX_POLL_BYTES)
            else:
                sleep(wait)
            for name in direct:
                # An equal share for each: the busiest cannot take what the others would read.
                share = max(1, max_records // len(direct)), MAX_POLL_BYTES // len(direct)
                found |= self._read_direct(name, topics[name], wanted[name], share)
            if left == 0 or any(polled.records or polled.gaps for polled in found.values()):
                return found

    def _read_direct(
        self, name: str, topic: Topic, start: Mapping[int, int], share: tuple[int, int]
    ) -> dict[str, Polled]:
        try:
            return {name: self._reader(name, topic).read(start, 0, *share)}
        # The client decodes the names of headers itself, and fails at bytes that are no UTF-8.
        except (KafkaError, OSError, UnicodeDecodeError) as error:
            log.error("direct_topic.unreadable", topic=name, error=repr(error), again_in=REST_SECONDS)  # noqa: TRY400
            self._close_reader(name)
            self._resting[name] = monotonic() + REST_SECONDS
            return {}

    def _is_rested(self, name: str) -> bool:
        return monotonic() >= self._resting.get(name, 0.0)

    def _reader(self, name: str, topic: Topic) -> TopicReader:
        reader = self._readers.get(name)
        if reader is None or reader.topic_id != topic.id:
            self._close_reader(name)
            reader = self._readers[name] = TopicReader(self._settings, name, topic.id)
        return reader

    def _tell_missing(self, topics: Mapping[str, Topic]) -> None:
        missing = frozenset(self._settings.direct_topics) - topics.keys()
        if missing != self._missing:  # told when it changes, not at every poll
            log.warning("direct_topics.missing", topics=sorted(missing), remedy="run 'lakemill topics ensure'")
        self._missing = missing

    def _close_reader(self, name: str) -> None:
        reader = self._readers.pop(name, None)
        if reader is not None:
            reader.close()

    def _close(self) -> None:
        for name in list(self._readers):
            self._close_reader(name)
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()


def _start(cursor: Cursor, name: str, topic: Topic) -> dict[int, int]:
    """Return partition → first offset to read. A partition without a place starts at 0, so what is missing is a gap."""
    known = cursor.topics.get(name)
    if known is not None and known.topic_id != topic.id:
        log.error("log.topic_recreated", topic=name, was=known.topic_id, now=topic.id)
        known = None
    places: Mapping[int, int] = known.next_offsets if known else {}
    return {partition: places.get(partition, 0) for partition in topic.partitions}


def _joined(before: Polled, name: str, start: Mapping[int, int], polled: Polled) -> Polled:
    """Return both; partitions of the topic that were not read stay where they were."""
    place = polled.cursor.topics[name]
    here = place.model_copy(update={"next_offsets": {**start, **place.next_offsets}})
    cursor = before.cursor.model_copy(update={"topics": {**before.cursor.topics, name: here}})
    return Polled(before.records + polled.records, cursor, before.gaps + polled.gaps)
