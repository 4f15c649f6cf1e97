"""Intake: for every record that the sensor read, exactly one of launch, duplicate, deferred or dead.

The record is only a hint. What is launched comes from the database, and the same attempt is always launched under the
same ``launch_id``, however often its record is shown.
"""

from typing import Any, cast
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import IntakeAnswer, IntakeRequest, Launch, LogRecord, RecordAnswer, Verdict
from contracts.messages import ReleaseRecord
from contracts.states import State
from contracts.views import GrantedProfile
from control.actions import published
from control.dead_letters import DeadCode, DeadRecordError, bury, read_record
from control.log_position import note_cursor, note_gaps
from control.tables import launches, outbox, process_events, processes
from control.transitions import lock, lock_all, move, note
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

HEAVY_LANE = "heavy"
_LAUNCHABLE = frozenset({State.ACCEPTED, State.QUEUED})


async def take(db: Database, request: IntakeRequest, settings: ControlSettings) -> IntakeAnswer:
    """Judge one tick's records, in order, in one transaction: all of it counts or none.

    Raises DatabaseUnavailableError; then the sensor must not advance, and shows the same records again.
    """
    async with db.transaction() as conn:
        await note_cursor(conn, request.persisted)
        await note_gaps(conn, request.gaps)
        read = [_read(record, settings) for record in request.records]
        # The worker marks the same processes as released at this very moment.
        await lock_all(conn, {found.process_id for found in read if isinstance(found, ReleaseRecord)})
        pairs = zip(request.records, read, strict=True)
        answers = [await _judge(conn, record, found, request.actions) for record, found in pairs]
    crash_point("S2")
    return IntakeAnswer(answers=answers)


def _read(record: LogRecord, settings: ControlSettings) -> ReleaseRecord | DeadRecordError:
    try:
        return read_record(record, settings.kafka_topic)
    except DeadRecordError as error:
        return error


async def _judge(
    conn: AsyncConnection, record: LogRecord, found: ReleaseRecord | DeadRecordError, offered: dict[str, str]
) -> RecordAnswer:
    try:
        if isinstance(found, ReleaseRecord):
            async with conn.begin_nested():
                return await _answer(conn, record, found, offered)
        dead = found
    except DeadRecordError as error:
        dead = error
    except DataError as error:
        dead = DeadRecordError(DeadCode.INVALID_RECORD, f"the database cannot hold it: {type(error.orig).__name__}")
    log.warning("record.dead", code=dead.code, reason=dead.message, **record.position.model_dump())
    await bury(conn, record, dead)
    return RecordAnswer.of(record, Verdict.DEAD, f"{dead.code}: {dead.message}")


async def _answer(
    conn: AsyncConnection, record: LogRecord, released: ReleaseRecord, offered: dict[str, str]
) -> RecordAnswer:
    row = await lock(conn, released.process_id)
    if row is None or row["tenant_id"] != released.tenant:
        raise DeadRecordError(DeadCode.UNKNOWN_PROCESS, "no such process of this tenant")
    if row["request_hash"] != released.request_hash_:
        raise DeadRecordError(DeadCode.HASH_MISMATCH, "the record is not what was accepted")
    if released.attempt != row["attempt"]:
        return RecordAnswer.of(record, Verdict.DUPLICATE, f"attempt {row['attempt']} is current")
    if State(row["state"]) not in _LAUNCHABLE or row["ending"] is not None:
        return RecordAnswer.of(record, Verdict.DUPLICATE, f"the process is {row['state']}")
    if not await _is_deployed(conn, row, offered):
        await _note_deferred(conn, row)
        return RecordAnswer.of(record, Verdict.DEFERRED, "action_not_deployed")
    if row["released_at"] is None:
        await _note_released(conn, row, record)
    launch_id = await _launch(conn, row, record)
    return RecordAnswer(
        position=record.position,
        verdict=Verdict.LAUNCH,
        launch=Launch(
            launch_id=launch_id,
            action=row["action"],
            entity_id=row["entity_id"],
            data_version=row["data_version"],
            process_id=row["id"],
            attempt=row["attempt"],
            profile=GrantedProfile.model_validate(row["profile"]).granted,
        ),
    )


async def _is_deployed(conn: AsyncConnection, row: RowMapping, offered: dict[str, str]) -> bool:
    """Whether the code location has the code that the process was accepted for or, unless pinned, what replaced it."""
    digest = offered.get(row["action"])
    if digest is None or digest == row["action_digest"]:
        return digest is not None
    if row["request"]["action_digest"] is not None:
        return False
    current = await published(conn, row["action"])
    return current is not None and current.digest == digest and current.dataset == row["dataset"]


async def _note_released(conn: AsyncConnection, row: RowMapping, record: LogRecord) -> None:
    """Mark the attempt as released: its record is here, and the worker's mark may be lost for ever.

    What is launched counts as in flight from now on, and is not sent again.
    """
    mark = update(processes).where(processes.c.id == row["id"])
    await conn.execute(mark.values(released_at=func.now(), **_place(record)))
    sent = (outbox.c.process_id == row["id"], outbox.c.attempt == row["attempt"])
    await conn.execute(delete(outbox).where(*sent))


def _place(record: LogRecord) -> dict[str, Any]:
    at = record.position
    return {"topic_id": at.topic_id, "log_partition": at.partition, "log_offset": at.offset}


async def _launch(conn: AsyncConnection, row: RowMapping, record: LogRecord) -> UUID:
    """Return the attempt's launch_id, decided at its first record; the row is locked, so there is no race.

    The launch's place follows the newest record: only when the cursor has passed that one can the launch be lost.
    """
    process_id, attempt, launch_id = row["id"], row["attempt"], row["launch_id"]
    place = _place(record)
    if launch_id is not None:
        current = (launches.c.process_id == process_id, launches.c.attempt == attempt)
        await conn.execute(update(launches).where(*current).values(place))
        return cast("UUID", launch_id)
    new = uuid_utils.compat.uuid7()
    decided = {"process_id": process_id, "attempt": attempt, "launch_id": new, "lane": HEAVY_LANE}
    await conn.execute(insert(launches).values({**decided, **place}))
    detail = {"launch_id": str(new), **place}
    columns = {"launch_id": new}
    await move(conn, process_id, State.QUEUED, actor="intake", attempt=attempt, detail=detail, columns=columns)
    return new


async def _note_deferred(conn: AsyncConnection, row: RowMapping) -> None:
    events = process_events.c
    noted = select(events.id).where(
        events.process_id == row["id"], events.attempt == row["attempt"], events.kind == "deferred"
    )
    if (await conn.execute(noted.limit(1))).first() is None:
        await note(conn, row, kind="deferred", actor="intake", detail={"code": "action_not_deployed"})
