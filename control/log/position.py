"""How far the sensor surely is in the log, and what the log dropped before it came."""

from collections.abc import Sequence

import structlog
from sqlalchemy import case, func, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.cursor import Cursor
from contracts.intake import LogGap
from control.log.tables import cursors, log_gaps

log = structlog.get_logger(__name__)


async def note_cursor(conn: AsyncConnection, persisted: Cursor) -> None:
    """Store the cursor that Dagster held: never backwards within one topic id, from the start for a new one."""
    for topic, position in sorted(persisted.topics.items()):
        for partition, offset in sorted(position.next_offsets.items()):
            row = upsert(cursors).values(
                topic=topic, log_partition=partition, topic_id=position.topic_id, next_offset=offset
            )
            furthest = case(
                (cursors.c.topic_id == row.excluded.topic_id, func.greatest(cursors.c.next_offset, offset)),
                else_=offset,
            )
            changes = {"topic_id": position.topic_id, "next_offset": furthest, "seen_at": func.now()}
            await conn.execute(row.on_conflict_do_update(index_elements=["topic", "log_partition"], set_=changes))


async def note_gaps(conn: AsyncConnection, gaps: Sequence[LogGap]) -> None:
    """Record what was dropped unread; an operator must hear of it, and the reconciler drives the processes again."""
    for gap in gaps:
        log.error("log.gap", **gap.model_dump())
        row = upsert(log_gaps).values(
            topic=gap.topic,
            topic_id=gap.topic_id,
            log_partition=gap.partition,
            expected_offset=gap.expected,
            found_offset=gap.found,
        )
        await conn.execute(row.on_conflict_do_nothing())
        if gap.found < gap.expected:  # the log was cut off: what is written there now has not been read
            back = update(cursors).where(
                cursors.c.topic_id == gap.topic_id,
                cursors.c.log_partition == gap.partition,
                cursors.c.next_offset > gap.found,
            )
            await conn.execute(back.values(next_offset=gap.found))
