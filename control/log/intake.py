"""Intake: for every record that the sensor read, exactly one verdict, and the same one again.

A record of the relay's topic is only a hint. What is launched comes from the database, and the same attempt is always
launched under the same ``launch_id``, however often its record is shown. A direct topic's record is a request of its
own (``direct_records``).
"""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import structlog
import uuid_utils.compat
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import IntakeAnswer, IntakeRequest, Launch, LogPosition, LogRecord, RecordAnswer, Verdict
from contracts.messages import ReleaseRecord
from contracts.states import State
from contracts.views import GrantedProfile
from control.accepting.inputs import InputCheck
from control.actions import published
from control.log.dead_letters import bury, read_record, unstorable
from control.log.direct_records import AGAIN_SECONDS, DirectRecords
from control.log.position import note_cursor, note_gaps
from control.rules.dead import DeadCode, DeadRecordError
from control.rules.launching import is_replaced, judge, known
from control.rules.reconciling import resend_delay
from control.schema import Row
from control.tables import launches, outbox, process_events, processes
from control.transitions import lock, lock_all, move, note, send_again, times_resent
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

HEAVY_LANE = "heavy"


async def take(db: Database, inputs: InputCheck, settings: ControlSettings, request: IntakeRequest) -> IntakeAnswer:
    """Judge one tick's records. Those of the relay's topic in order and in one transaction: all of it counts or none.

    Raises DatabaseUnavailableError; then the sensor must not advance, and shows the same records again.
    """
    relayed = [record for record in request.records if record.topic == settings.kafka_topic]
    direct = [record for record in request.records if record.topic in settings.direct_topics]
    judged = await _take_relayed(db, request, relayed)
    judged |= await DirectRecords(db, inputs, settings).judge(direct)
    crash_point("S2")
    return IntakeAnswer(answers=[judged.get(each.position) or _unexpected(each) for each in request.records])


async def _take_relayed(
    db: Database, request: IntakeRequest, records: Sequence[LogRecord]
) -> dict[LogPosition, RecordAnswer]:
    async with db.transaction() as conn:
        await note_cursor(conn, request.persisted)
        await note_gaps(conn, request.gaps)
        read = [_read(record) for record in records]
        # The worker marks the same processes as released at this very moment.
        await lock_all(conn, {found.process_id for found in read if isinstance(found, ReleaseRecord)})
        pairs = zip(records, read, strict=True)
        return {record.position: await _judge(conn, record, found, request.actions) for record, found in pairs}


def _unexpected(record: LogRecord) -> RecordAnswer:
    # The planes' settings differ, during an upgrade perhaps: nothing is wrong with the record.
    log.error("record.unexpected_topic", topic=record.topic, place=str(record.position))
    reason = f"{DeadCode.UNEXPECTED_TOPIC}: {record.topic!r} is not among the topics of this side"
    return RecordAnswer.of(record, Verdict.LATER, reason, again_in=AGAIN_SECONDS)


def _read(record: LogRecord) -> ReleaseRecord | DeadRecordError:
    try:
        return read_record(record)
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
        dead = unstorable(error)
    await bury(conn, record, dead)
    return RecordAnswer.of(record, Verdict.DEAD, str(dead))


async def _answer(
    conn: AsyncConnection, record: LogRecord, released: ReleaseRecord, offered: dict[str, str]
) -> RecordAnswer:
    row = known(await lock(conn, released.process_id), released)
    replacement = await published(conn, row["action"]) if is_replaced(row, offered) else None
    judged = judge(row, released, offered, replacement)
    if judged.verdict is Verdict.DEFERRED:
        await _defer(conn, row)
    if judged.verdict is not Verdict.LAUNCH:
        return RecordAnswer(position=record.position, verdict=judged.verdict, reason=judged.reason)
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


async def _note_released(conn: AsyncConnection, row: Row, record: LogRecord) -> None:
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


async def _launch(conn: AsyncConnection, row: Row, record: LogRecord) -> UUID:
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


async def _defer(conn: AsyncConnection, row: Row) -> None:
    """Say once that no code location offers the action, and give the place back: others may be able to run."""
    events = process_events.c
    noted = select(events.id).where(
        events.process_id == row["id"], events.attempt == row["attempt"], events.kind == "deferred"
    )
    if (await conn.execute(noted.limit(1))).first() is None:
        await note(conn, row, kind="deferred", actor="intake", detail={"code": "action_not_deployed"})
    if row["released_at"] is not None:
        delay = resend_delay(1 + await times_resent(conn, row))
        await send_again(conn, row, delay=delay, actor="intake")
