"""``POST /internal/v1/intake``: the sensor shows the control plane what it read, and learns what to launch."""

import re
from base64 import b64decode, b64encode
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, PlainSerializer, PlainValidator

from contracts.cursor import Cursor, Offset, Partition, TopicId, TopicName
from contracts.identity import SafeId, SafeName
from contracts.messages import Profile
from contracts.model import Frozen

INTAKE_PATH = "/internal/v1/intake"
LAUNCH_TAG = "lakemill/launch_id"
"""The tag of a run that the sensor launched. A run without it was started by an operator."""
MAX_RECORDS = 500
MAX_HEADERS = 64
MAX_HEADERS_BYTES = 16 * 1024
"""Of one record's headers, names and values together."""
_PLACE = re.compile(r"([!-.0-~]{1,64})/([0-9]{1,10})/([0-9]{1,19})")


def _decode(value: object) -> bytes:
    return value if isinstance(value, bytes) else b64decode(str(value), validate=True)


Base64Bytes = Annotated[
    bytes, PlainValidator(_decode), PlainSerializer(lambda value: b64encode(value).decode(), return_type=str)
]
"""Raw bytes, carried in JSON as base64, so that a poisonous record arrives exactly as it was written."""


class LogPosition(Frozen):
    """One place in the log, for ever: topic id, partition, offset."""

    topic_id: TopicId
    partition: Partition
    offset: Offset

    def __str__(self) -> str:
        return f"{self.topic_id}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``topic id/partition/offset`` back; raise ValueError for anything else."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:64]!r} is no place in the log: TOPIC_ID/PARTITION/OFFSET")
        return cls(topic_id=found[1], partition=int(found[2]), offset=int(found[3]))


class LogHeader(Frozen):
    """One header of a record; a name may stand more than once."""

    name: Base64Bytes
    value: Base64Bytes | None = None


class LogRecord(Frozen):
    """One record as Kafka gave it."""

    topic: TopicName
    position: LogPosition
    key: Base64Bytes | None = None
    value: Base64Bytes | None = None
    truncated_from: int | None = None
    """The value's true size in bytes when it was too large to carry whole."""
    headers: tuple[LogHeader, ...] = Field((), max_length=MAX_HEADERS)
    headers_left_out: int = 0
    """How many more headers it has than are carried."""


class LogGap(Frozen):
    """Records that the log dropped before the sensor read them: offsets [expected, found)."""

    topic: TopicName
    topic_id: TopicId
    partition: Partition
    expected: Offset
    found: Offset


class IntakeRequest(Frozen):
    """One tick's batch. ``persisted`` is the cursor Dagster held when the tick began: what is surely behind us."""

    persisted: Cursor
    actions: dict[str, str] = Field(description="action name → code digest this code location can launch")
    records: list[LogRecord] = Field(max_length=MAX_RECORDS)
    gaps: list[LogGap] = Field(default_factory=list)


class Verdict(StrEnum):
    """What became of one record."""

    LAUNCH = "launch"
    ACCEPTED = "accepted"
    """A direct topic's record has become a process, which comes back by the relay's topic."""
    DUPLICATE = "duplicate"
    DEFERRED = "deferred"
    DEAD = "dead"
    LATER = "later"
    """Not judged yet: the cursor must stay before it, and the record be shown again."""


class Launch(Frozen):
    """Start this: always the same ``launch_id`` for the same attempt."""

    launch_id: UUID
    action: SafeName
    entity_id: SafeId
    data_version: SafeId
    process_id: UUID
    attempt: int
    profile: Profile
    """What was granted: how large the run's pods are."""


class RecordAnswer(Frozen):
    """The verdict on one record. ``launch`` is set iff the verdict is LAUNCH; ``reason`` explains the others."""

    position: LogPosition
    verdict: Verdict
    launch: Launch | None = None
    reason: str | None = None
    again_in: float = 0.0
    """For LATER: the seconds for which the record's partition need not be read."""

    @classmethod
    def of(cls, record: LogRecord, verdict: Verdict, reason: str, *, again_in: float = 0.0) -> Self:
        """Answer without a launch."""
        return cls(position=record.position, verdict=verdict, reason=reason, again_in=again_in)


class IntakeAnswer(Frozen):
    """One answer per record, in the order of the records."""

    answers: list[RecordAnswer]
