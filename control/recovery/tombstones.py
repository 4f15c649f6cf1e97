"""Tombstones: reading them from the lake, and what they say as rows of the index."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.storage import tombstone_key
from contracts.tombstone import Tombstone
from control.snapshots import CommitReader
from control.tables import snapshots


async def read_tombstone(lake: CommitReader, place: Coordinate) -> Tombstone | None:
    """Return the tombstone of a coordinate, or None. Raises CorruptSnapshotError and the lake's errors."""
    data = await asyncio.to_thread(lake.get, tombstone_key(place))
    return None if data is None else Tombstone.parse(data, place)


async def record_retired(conn: AsyncConnection, stones: Sequence[Tombstone]) -> None:
    """Note in the index what is retired, each another coordinate. What is noted as retired already stays as it is."""
    if not stones:
        return
    row = upsert(snapshots).values([_row(stone) for stone in stones])
    retired = {"retired_at": row.excluded.retired_at}
    place = ("entity_id", "data_version", "dataset")
    await conn.execute(
        row.on_conflict_do_update(index_elements=place, set_=retired, where=snapshots.c.retired_at.is_(None))
    )


def _row(stone: Tombstone) -> dict[str, Any]:
    return {
        **asdict(stone.coordinate),
        "tenant_id": stone.tenant,
        "process_id": stone.process_id,
        "token": stone.token,
        "artifact": stone.artifact.model_dump(mode="json"),
        "committed_at": stone.artifact.committed_at,
        "retired_at": stone.retired_at,
    }
