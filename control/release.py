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
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import (
    BigInteger,
    Integer,
    RowMapping,
    Select,
    Text,
    Uuid,
    column,
    delete,
    exists,
    func,
    insert,
    select,
    true,
    tuple_,
    update,
    values,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import LogPosition
from contracts.messages import ReleaseRecord
from contracts.problems import LakemillError
from control.tables import ACTIVE_SQL, IN_FLIGHT_SQL, WAITING_SQL, outbox, process_events, processes, tenants
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


@dataclass(frozen=True, slots=True)
class _Picked:
    process_id: UUID
    attempt: int
    at: datetime
    record: OutgoingRecord


async def release_once(db: Database, relay: Relay, settings: ControlSettings) -> int:
    """Publish one batch of what may start now; returns how many were released (0 when another worker is at it).

    Raises RelayUnavailableError after the acknowledged ones have been marked, and DatabaseUnavailableError.
    """
    async with db.exclusive(RELEASE_LOCK) as held:
        picked = await _pick(db, settings.max_in_flight) if held else []
        if not picked:
            return 0
        crash_point("R1")
        positions = await relay.publish([each.record for each in picked])
        crash_point("R3")
        acked = [(each, place) for each, place in zip(picked, positions, strict=True) if place is not None]
        if acked:
            async with db.transaction() as conn:
                await _mark(conn, acked)
    if len(acked) < len(picked):
        raise RelayUnavailableError(f"Kafka acknowledged {len(acked)} of {len(picked)} records; the rest stay queued")
    return len(acked)


async def _pick(db: Database, max_in_flight: int) -> list[_Picked]:
    async with db.transaction() as conn:
        in_flight = select(func.count()).select_from(processes).where(IN_FLIGHT_SQL).scalar_subquery()
        flying = await conn.scalar(select(in_flight).where(exists().select_from(outbox)))
        if flying is None or flying >= max_in_flight:
            return []
        rows = (await conn.execute(_next(min(max_in_flight - flying, BATCH)))).mappings().all()
        encoded = [(row, _encode(row)) for row in rows]
        unreadable = [row["id"] for row, record in encoded if record is None]
        if unreadable:
            pause = update(processes).where(processes.c.id.in_(unreadable))
            await conn.execute(pause.values(not_before=func.now() + _UNREADABLE_PAUSE))
    return [_Picked(row["id"], row["attempt"], row["picked_at"], record) for row, record in encoded if record]


def _next(room: int) -> Select[Any]:
    """Fill ``room`` places one by one, each from the tenant that then has the fewest in flight.

    Its n-th waiting process would be a tenant's (in flight + n)-th: ordering by that number is filling one by one.
    Each tenant's first are read from an index in their order, so a long backlog costs nothing.
    """
    flying = select(processes.c.tenant_id, func.count().label("count")).where(IN_FLIGHT_SQL)
    busy = flying.group_by(processes.c.tenant_id).subquery("busy")
    order = (processes.c.priority.desc(), processes.c.created_at, processes.c.id)
    needed = (processes.c.id, processes.c.attempt, processes.c.tenant_id, processes.c.request, processes.c.request_hash)
    first = (
        select(*needed, processes.c.priority, processes.c.created_at, func.row_number().over(order_by=order).label("n"))
        .join(outbox, (outbox.c.process_id == processes.c.id) & (outbox.c.attempt == processes.c.attempt))
        .where(processes.c.tenant_id == tenants.c.id, WAITING_SQL)
        .where(processes.c.not_before <= func.now(), processes.c.ending.is_(None))
        .order_by(*order)
        .limit(room)
        .correlate(tenants)
        .lateral("first")
    )
    return (
        select(first, func.now().label("picked_at"))
        .select_from(tenants.join(first, true()).outerjoin(busy, busy.c.tenant_id == first.c.tenant_id))
        .order_by(func.coalesce(busy.c.count, 0) + first.c.n, first.c.priority.desc(), first.c.created_at, first.c.id)
        .limit(room)
    )


def _encode(row: RowMapping) -> OutgoingRecord | None:
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
