"""Release: what may start now goes from the outbox to Kafka; the backlog stays in PostgreSQL, ordered and counted.

One worker at a time does this, under an advisory lock, so the limits hold with many workers. No transaction is open
while Kafka is waited for: a crash between its acknowledgement and the mark sends the record again, and intake absorbs
it.

LakemillError
└── RelayUnavailableError   some records were not acknowledged; they stay in the outbox
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    Uuid,
    column,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
    values,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import LogPosition
from contracts.messages import ReleaseRecord
from contracts.problems import LakemillError
from control.recovery.tables import RECOVERING
from control.releasing.order import next_to_release
from control.schema import Row
from control.tables import ACTIVE_SQL, IN_FLIGHT_SQL, outbox, process_events, processes
from control.transitions import lock_all
from resources.database import Database
from resources.faults import crash_point
from resources.log import OutgoingRecord, Relay
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

RELEASE_LOCK = 0x6C616B65_00000002
BATCH = 500
"""Records published and marked together, at most."""
_UNREADABLE_PAUSE = timedelta(minutes=10)


class RelayUnavailableError(LakemillError):
    """Kafka did not acknowledge some records. They are sent again; check LAKEMILL_KAFKA_BOOTSTRAP and the broker."""

    retriable = True


_Sent = TypeVar("_Sent")


@dataclass(frozen=True, slots=True)
class _Picked:
    process_id: UUID
    attempt: int
    at: datetime
    record: OutgoingRecord


async def release_once(db: Database, relay: Relay, settings: ControlSettings) -> int:
    """Publish one batch of what may start now; returns how many were released (0 when another worker is at it).

    Nothing is released while the control plane is being rebuilt: what the lake has already would be asked for again.
    Raises RelayUnavailableError after the acknowledged ones have been marked, and DatabaseUnavailableError.
    """
    async with db.exclusive(RELEASE_LOCK) as held:
        picked = await _pick(db, settings.max_in_flight) if held else []
        if not picked:
            return 0
        crash_point("R1")
        positions = await relay.publish([each.record for each in picked])
        crash_point("R3")
        acked = acknowledged(picked, positions)
        if acked:
            async with db.transaction() as conn:
                await _mark(conn, acked)
    if len(acked) < len(picked):
        raise RelayUnavailableError(f"Kafka acknowledged {len(acked)} of {len(picked)} records; the rest stay queued")
    return len(acked)


async def next_up(conn: AsyncConnection, max_in_flight: int) -> tuple[UUID, int] | None:
    """Return the process, and its attempt, that would be released now; None when nothing may start."""
    room = await _room(conn, max_in_flight)
    found = (await conn.execute(next_to_release(1))).first() if room else None
    return None if found is None else (found.id, found.attempt)


async def _room(conn: AsyncConnection, max_in_flight: int) -> int:
    """Return how many may be released now; 0 also when nothing waits, or nothing may be released."""
    in_flight = select(func.count()).select_from(processes).where(IN_FLIGHT_SQL).scalar_subquery()
    flying = await conn.scalar(select(in_flight).where(exists().select_from(outbox), ~RECOVERING))
    return 0 if flying is None else min(max(max_in_flight - flying, 0), BATCH)


async def _pick(db: Database, max_in_flight: int) -> list[_Picked]:
    async with db.transaction() as conn:
        room = await _room(conn, max_in_flight)
        if not room:
            return []
        rows = (await conn.execute(next_to_release(room))).mappings().all()
        encoded = [(row, record_of(row)) for row in rows]
        unreadable = [row["id"] for row, record in encoded if record is None]
        if unreadable:
            pause = update(processes).where(processes.c.id.in_(unreadable))
            await conn.execute(pause.values(not_before=func.now() + _UNREADABLE_PAUSE))
    return [_Picked(row["id"], row["attempt"], row["picked_at"], record) for row, record in encoded if record]


def record_of(row: Row) -> OutgoingRecord | None:
    """Return the record of the attempt in ``row``; None when its request is none that this code can read."""
    added = {
        "process_id": row["id"],
        "attempt": row["attempt"],
        "tenant": row["tenant_id"],
        "request_hash": row["request_hash"],
    }
    try:
        record = ReleaseRecord.model_validate({**row["request"], **added})
    except ValidationError as error:
        # One row must not hold up all others; it is tried again later, perhaps by another release of this code.
        log.error("release.unreadable", process_id=str(row["id"]), error=str(error))  # noqa: TRY400 - it says it all
        return None
    return OutgoingRecord(key=record.entity_id.encode(), value=record.encode())


def acknowledged(sent: Sequence[_Sent], positions: Sequence[LogPosition | None]) -> list[tuple[_Sent, LogPosition]]:
    """Return what surely lies in the log, and where; all else stays in the outbox."""
    return [(each, place) for each, place in zip(sent, positions, strict=True) if place is not None]


async def _mark(conn: AsyncConnection, acked: Sequence[tuple[_Picked, LogPosition]]) -> None:
    """Note where each record lies. The state is not looked at: the sensor may have been faster than we are."""
    await lock_all(conn, [each.process_id for each, _ in acked])  # intake changes the same rows at this very moment
    places = values(
        column("id", Uuid),
        column("attempt", Integer),
        column("topic_id", Text),
        column("log_partition", Integer),
        column("log_offset", BigInteger),
        name="acked",
    ).data([(each.process_id, each.attempt, at.topic_id, at.partition, at.offset) for each, at in acked])
    marked = await conn.execute(
        update(processes)
        .where(processes.c.id == places.c.id, processes.c.attempt == places.c.attempt, ACTIVE_SQL)
        .values(
            released_at=func.now(),
            updated_at=func.now(),
            topic_id=places.c.topic_id,
            log_partition=places.c.log_partition,
            log_offset=places.c.log_offset,
        )
        .returning(processes.c.id)
    )
    current = set(marked.scalars())
    events = [_event(each, at) for each, at in acked if each.process_id in current]
    if events:
        await conn.execute(insert(process_events), events)
    sent = [(each.process_id, each.attempt) for each, _ in acked]
    await conn.execute(delete(outbox).where(tuple_(outbox.c.process_id, outbox.c.attempt).in_(sent)))


def _event(each: _Picked, at: LogPosition) -> dict[str, Any]:
    # The moment of picking, so that the timeline never shows a release after the intake that followed it.
    return {
        "process_id": each.process_id,
        "attempt": each.attempt,
        "at": each.at,
        "kind": "released",
        "actor": "worker",
        "detail": at.model_dump(mode="json"),
    }
