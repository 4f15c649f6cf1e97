"""``POST /internal/v1/intake``: the sensor shows the control plane what it read, and learns what to launch."""

from base64 import b64decode, b64encode
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from contracts.cursor import Cursor
from contracts.identity import SafeId, SafeName
from contracts.messages import Profile

INTAKE_PATH = "/internal/v1/intake"
MAX_RECORDS = 500


def _decode(value: object) -> bytes:
    return value if isinstance(value, bytes) else b64decode(str(value), validate=True)


Base64Bytes = Annotated[
    bytes, PlainValidator(_decode), PlainSerializer(lambda value: b64encode(value).decode(), return_type=str)
]
"""Raw bytes, carried in JSON as base64, so that a poisonous record arrives exactly as it was written."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogPosition(_Frozen):
    """One place in the log, for ever: topic id, partition, offset."""

    topic_id: str
    partition: int
    offset: int


class LogRecord(_Frozen):
    """One record as Kafka gave it."""

    topic: str
    position: LogPosition
    key: Base64Bytes | None = None
    value: Base64Bytes | None = None
    truncated_from: int | None = None
    """The value's true size in bytes when it was too large to carry whole."""


class LogGap(_Frozen):
    """Records that the log dropped before the sensor read them: offsets [expected, found)."""

    topic: str
    topic_id: str
    partition: int
    expected: int
    found: int


class IntakeRequest(_Frozen):
    """One tick's batch. ``persisted`` is the cursor Dagster held when the tick began: what is surely behind us."""

    persisted: Cursor
    actions: dict[str, str] = Field(description="action name → code digest this code location can launch")
    records: list[LogRecord] = Field(max_length=MAX_RECORDS)
    gaps: list[LogGap] = Field(default_factory=list)


class Verdict(StrEnum):
    """What became of one record."""

    LAUNCH = "launch"
    DUPLICATE = "duplicate"
    DEFERRED = "deferred"
    DEAD = "dead"


class Launch(_Frozen):
    """Start this: always the same ``launch_id`` for the same attempt."""

    launch_id: UUID
    action: SafeName
    entity_id: SafeId
    data_version: SafeId
    process_id: UUID
    attempt: int
    profile: Profile
    """What was granted: how large the run's pods are."""


class RecordAnswer(_Frozen):
    """The verdict on one record. ``launch`` is set iff the verdict is LAUNCH; ``reason`` explains the others."""

    position: LogPosition
    verdict: Verdict
    launch: Launch | None = None
    reason: str | None = None

    @classmethod
    def of(cls, record: LogRecord, verdict: Verdict, reason: str) -> Self:
        """Answer without a launch."""
        return cls(position=record.position, verdict=verdict, reason=reason)


class IntakeAnswer(_Frozen):
    """One answer per record, in the order of the records."""

    answers: list[RecordAnswer]
