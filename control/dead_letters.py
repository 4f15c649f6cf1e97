"""Records that can never be processed: why, and their original bytes."""

from enum import StrEnum

from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import LogRecord
from contracts.messages import CONTRACT_VERSION, ReleaseRecord
from contracts.problems import LakemillError
from contracts.strict_json import MalformedJsonError, loads
from control.tables import dead_letters


class DeadCode(StrEnum):
    """Why a record is dead."""

    UNEXPECTED_TOPIC = "unexpected_topic"
    OVERSIZED = "oversized"
    TOMBSTONE = "tombstone"
    POISON = "poison"
    """Not acceptable JSON."""
    WRONG_VERSION = "wrong_version"
    INVALID_RECORD = "invalid_record"
    """JSON, but not a release record."""
    UNKNOWN_PROCESS = "unknown_process"
    HASH_MISMATCH = "hash_mismatch"
    """Forged, or damaged on its way."""


class DeadRecordError(LakemillError):
    """This record can never be processed; look at its dead letter."""

    def __init__(self, code: DeadCode, message: str) -> None:
        # Field names come from the record: whatever they hold must be storable and harmless to read.
        self.message = message[:1000].encode("unicode_escape").decode("ascii")
        self.code = code
        super().__init__(f"{code}: {self.message}")


def read_record(record: LogRecord, relay_topic: str) -> ReleaseRecord:
    """Read a record of the relay's topic, trusting nothing in it. Raises DeadRecordError."""
    if record.topic != relay_topic:
        raise DeadRecordError(DeadCode.UNEXPECTED_TOPIC, f"only {relay_topic!r} is taken in")
    if record.truncated_from is not None:
        raise DeadRecordError(DeadCode.OVERSIZED, f"the value has {record.truncated_from} bytes")
    if record.value is None:
        raise DeadRecordError(DeadCode.TOMBSTONE, "the record has no value")
    try:
        value = loads(record.value)
    except MalformedJsonError as error:
        raise DeadRecordError(DeadCode.POISON, f"{error.code}: {error}") from error
    if isinstance(value, dict) and value.get("contract_version", CONTRACT_VERSION) != CONTRACT_VERSION:
        raise DeadRecordError(DeadCode.WRONG_VERSION, f"this side reads contract version {CONTRACT_VERSION}")
    try:
        released = ReleaseRecord.model_validate(value)
    except ValidationError as error:
        broken = sorted(
            {".".join(str(part) for part in found["loc"])[:64] + ": " + found["type"] for found in error.errors()}
        )
        raise DeadRecordError(DeadCode.INVALID_RECORD, "; ".join(broken)) from error
    if released.request().request_hash() != released.request_hash_:
        raise DeadRecordError(DeadCode.HASH_MISMATCH, "the record does not match its own hash")
    return released


async def bury(conn: AsyncConnection, record: LogRecord, error: DeadRecordError) -> None:
    """Keep the record's original bytes; the same place in the log is kept once."""
    row = upsert(dead_letters).values(
        topic_id=record.position.topic_id,
        log_partition=record.position.partition,
        log_offset=record.position.offset,
        topic=record.topic,
        code=error.code.value,
        message=error.message,
        key=record.key,
        value=record.value,
    )
    await conn.execute(row.on_conflict_do_nothing())
