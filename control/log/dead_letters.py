"""Records that can never be processed as they are: why, and their original bytes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog
from pydantic import ValidationError
from sqlalchemy import ColumnElement, RowMapping, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import MAX_HEADERS, MAX_HEADERS_BYTES, LogHeader, LogPosition, LogRecord
from contracts.messages import CONTRACT_VERSION, ReleaseRecord
from contracts.problems import LakemillError
from contracts.strict_json import MalformedJsonError, loads
from control.log.tables import dead_letters

log = structlog.get_logger(__name__)

_PLACE = (dead_letters.c.topic_id, dead_letters.c.log_partition, dead_letters.c.log_offset)


class DeadCode(StrEnum):
    """Why a record is dead. One of a direct topic may also bear the code of the problem for which it was refused."""

    UNEXPECTED_TOPIC = "unexpected_topic"
    """Neither the relay's topic nor a direct one."""
    OVERSIZED = "oversized"
    """It was too large to carry: what is kept of it is not all of it."""
    TOMBSTONE = "tombstone"
    POISON = "poison"
    """Not acceptable JSON."""
    WRONG_VERSION = "wrong_version"
    INVALID_RECORD = "invalid_record"
    """JSON, but not a release record."""
    UNKNOWN_PROCESS = "unknown_process"
    HASH_MISMATCH = "hash_mismatch"
    """Forged, or damaged on its way."""


class UnknownLetterError(LakemillError):
    """No record was put aside at this place, or it is not kept any more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters; None does not matter."""

    code: str | None = None
    topic: str | None = None
    since: datetime | None = None
    with_redriven: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return them as SQL."""
        letters = dead_letters.c
        found = [letters.code == self.code] if self.code is not None else []
        found += [letters.topic == self.topic] if self.topic is not None else []
        found += [letters.created_at >= self.since] if self.since is not None else []
        return found if self.with_redriven else [*found, letters.redriven_at.is_(None)]


class DeadRecordError(LakemillError):
    """This record can never be processed; look at its dead letter."""

    def __init__(self, code: str, message: str) -> None:
        # Field names come from the record: whatever they hold must be storable and harmless to read.
        self.message = message[:1000].encode("unicode_escape").decode("ascii")
        self.code = str(code)
        super().__init__(f"{code}: {self.message}")


def unstorable(error: DataError) -> DeadRecordError:
    """Return the reason of a record that is in order, and that PostgreSQL cannot hold all the same."""
    return DeadRecordError(DeadCode.INVALID_RECORD, f"the database cannot hold it: {type(error.orig).__name__}")


def whole_value(record: LogRecord) -> bytes:
    """Return the value of a record that came whole. Raises DeadRecordError (oversized, tombstone)."""
    if record.truncated_from is not None:
        raise DeadRecordError(DeadCode.OVERSIZED, f"the value has {record.truncated_from} bytes")
    if record.headers_left_out:
        count = len(record.headers) + record.headers_left_out
        limit = f"at most {MAX_HEADERS} with {MAX_HEADERS_BYTES} bytes in all are read"
        raise DeadRecordError(DeadCode.OVERSIZED, f"{count} headers are too many or too large: {limit}")
    if record.value is None:
        raise DeadRecordError(DeadCode.TOMBSTONE, "the record has no value")
    return record.value


def read_record(record: LogRecord) -> ReleaseRecord:
    """Read a record of the relay's topic, trusting nothing in it. Raises DeadRecordError."""
    try:
        value = loads(whole_value(record))
    except MalformedJsonError as error:
        raise DeadRecordError(DeadCode.POISON, f"{error.code}: {error}") from error
    if isinstance(value, dict) and value.get("contract_version", CONTRACT_VERSION) != CONTRACT_VERSION:
        raise DeadRecordError(DeadCode.WRONG_VERSION, f"this side reads contract version {CONTRACT_VERSION}")
    try:
        released = ReleaseRecord.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        broken = sorted({".".join(str(part) for part in found["loc"])[:64] + ": " + found["type"] for found in errors})
        raise DeadRecordError(DeadCode.INVALID_RECORD, "; ".join(broken)) from error
    if released.request().request_hash() != released.request_hash_:
        raise DeadRecordError(DeadCode.HASH_MISMATCH, "the record does not match its own hash")
    return released


async def bury(conn: AsyncConnection, record: LogRecord, error: DeadRecordError) -> None:
    """Keep the record's original bytes; the same place in the log is kept once."""
    log.warning("record.dead", topic=record.topic, code=error.code, reason=error.message, place=str(record.position))
    row = upsert(dead_letters).values(
        topic_id=record.position.topic_id,
        log_partition=record.position.partition,
        log_offset=record.position.offset,
        topic=record.topic,
        code=error.code,
        message=error.message,
        key=record.key,
        value=record.value,
        headers=[header.model_dump(mode="json") for header in record.headers],
    )
    await conn.execute(row.on_conflict_do_nothing())


async def page(
    conn: AsyncConnection, wanted: Wanted, *, limit: int, after: LogPosition | None = None
) -> Sequence[RowMapping]:
    """Return dead letters without keys and values, newest first, ``after`` the one of that place.

    Raises UnknownLetterError when there is none at that place.
    """
    order = (dead_letters.c.created_at, *_PLACE)
    columns = [column for column in dead_letters.c if column.name not in {"key", "value", "headers"}]
    size = func.coalesce(func.length(dead_letters.c.value), 0).label("bytes")
    query = select(*columns, size).where(*wanted.conditions())
    if after is not None:
        last = await get(conn, after)
        query = query.where(tuple_(*order) < tuple_(*(literal(last[column.name]) for column in order)))
    query = query.order_by(*(column.desc() for column in order)).limit(limit)
    return (await conn.execute(query)).mappings().all()


async def get(conn: AsyncConnection, place: LogPosition) -> RowMapping:
    """Return one dead letter. Raises UnknownLetterError."""
    row = (await conn.execute(select(dead_letters).where(is_at(place)))).mappings().one_or_none()
    if row is None:
        raise UnknownLetterError(f"there is no dead letter {place}; 'lakemill dead-letters ls --all' shows them")
    return row


def place_of(row: RowMapping) -> LogPosition:
    """Return where a dead letter's record lies in the log."""
    return LogPosition(topic_id=row["topic_id"], partition=row["log_partition"], offset=row["log_offset"])


def kept_record(row: RowMapping) -> LogRecord:
    """Return the record of a dead letter, as it was read."""
    return LogRecord(
        topic=row["topic"],
        position=place_of(row),
        key=row["key"],
        value=row["value"],
        headers=tuple(LogHeader.model_validate(header) for header in row["headers"]),
    )


def is_at(place: LogPosition) -> ColumnElement[bool]:
    """Return the condition of the dead letter of one place."""
    return tuple_(*_PLACE) == tuple_(literal(place.topic_id), literal(place.partition), literal(place.offset))


async def buried(conn: AsyncConnection, records: Collection[LogRecord]) -> dict[LogPosition, RowMapping]:
    """Return the dead letters that these records have left already, by their place."""
    places = [(record.position.topic_id, record.position.partition, record.position.offset) for record in records]
    query = select(*_PLACE, dead_letters.c.code, dead_letters.c.message, dead_letters.c.redriven_at)
    rows = (await conn.execute(query.where(tuple_(*_PLACE).in_(places)))).mappings()
    return {place_of(row): row for row in rows}
