"""Processes that a restored database believes to be under way, and that the lake knows to be over."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.states import State
from contracts.tombstone import Tombstone
from control.outcomes import settle_by_commit
from control.snapshots import CommitReader
from control.tables import ACTIVE_SQL, processes
from control.transitions import move
from resources.database import Database


async def end_published(db: Database, lake: CommitReader, places: Collection[Coordinate]) -> int:
    """End the processes at coordinates that have a commit, as it says; returns how many. Raises LakeError."""
    columns = tuple_(processes.c.entity_id, processes.c.data_version, processes.c.dataset)
    wanted = [(place.entity_id, place.data_version, place.dataset) for place in places]
    async with db.reading() as conn:
        query = select(processes.c.id).where(columns.in_(wanted), ACTIVE_SQL).order_by(processes.c.id)
        ids = (await conn.execute(query)).scalars().all()
    return sum([await settle_by_commit(db, lake, process_id) for process_id in ids])


async def end_retired(conn: AsyncConnection, stones: Sequence[Tombstone]) -> int:
    """End the processes whose snapshot has been published, and retired since: they succeeded; returns how many."""
    ended = 0
    for stone in stones:
        if stone.process_id is not None and await _succeed(conn, stone.process_id, stone):
            ended += 1
    return ended


async def _succeed(conn: AsyncConnection, process_id: UUID, stone: Tombstone) -> bool:
    artifact = stone.artifact.model_dump(mode="json")
    detail = {
        "token": stone.token,
        "committed_at": stone.artifact.committed_at.isoformat(),
        "retired_at": stone.retired_at.isoformat(),
    }
    columns = {"artifact": artifact, "reason": None}
    row = await move(conn, process_id, State.SUCCEEDED, actor="tombstone", detail=detail, columns=columns)
    return row is not None
