"""What is published: reading a commit from the lake, and the index of commits in PostgreSQL."""

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import RowMapping, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.callbacks import Artifact
from contracts.commit import Commit, digest
from contracts.identity import Coordinate
from contracts.storage import commit_key, dataset_prefix
from control.tables import snapshots
from resources.lake import LakeUnavailableError

READ_SECONDS = 10.0
"""How long one look at the lake is waited for. The client's own patience is minutes, too long for a loop or a call."""
# Threads of their own: a lake that hangs holds up nobody but those who ask it.
_READERS = ThreadPoolExecutor(32, thread_name_prefix="lake")


class CommitReader(Protocol):
    """The two things the control plane asks of the lake; ``resources.lake.Lake`` is one."""

    def get(self, key: str) -> bytes | None:
        """Return the object, or None when there is none. Raises LakeError when the store does not answer."""
        ...

    def url(self, key: str) -> str:
        """Return ``s3://bucket/key``."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """A commit as it was read, and what is told of it."""

    commit: Commit
    artifact: Artifact


async def read_commit(
    lake: CommitReader, coordinate: Coordinate, *, wait_seconds: float = READ_SECONDS
) -> Published | None:
    """Return what is committed at ``coordinate``, or None.

    Raises CorruptSnapshotError for a commit that is not ours, and LakeError when the lake does not answer in time.
    """
    key = commit_key(coordinate)
    try:
        async with asyncio.timeout(wait_seconds):
            data = await asyncio.get_running_loop().run_in_executor(_READERS, lake.get, key)
    except TimeoutError as error:
        raise LakeUnavailableError(f"{lake.url(key)}: no answer within {wait_seconds:g} s") from error
    if data is None:
        return None
    commit = Commit.parse(data, coordinate)
    artifact = Artifact(
        path=lake.url(dataset_prefix(coordinate)).rstrip("/"),
        rows=commit.rows,
        bytes=commit.size_bytes,
        files=len(commit.files),
        commit_digest=digest(data),
        committed_at=commit.committed_at,
    )
    return Published(commit, artifact)


async def record(conn: AsyncConnection, found: Published) -> None:
    """Index a commit. The lake is the truth, so what was noted before is replaced."""
    origin = found.commit.provenance
    values: dict[str, Any] = {
        "tenant_id": origin.tenant,
        "process_id": origin.process_id,
        "token": origin.token,
        "artifact": found.artifact.model_dump(mode="json"),
        "committed_at": found.artifact.committed_at,
    }
    place = found.commit.coordinate
    row = upsert(snapshots).values(
        entity_id=place.entity_id, data_version=place.data_version, dataset=place.dataset, **values
    )
    await conn.execute(
        row.on_conflict_do_update(
            index_elements=["entity_id", "data_version", "dataset"], set_=values, where=snapshots.c.retired_at.is_(None)
        )
    )


async def known(conn: AsyncConnection, wanted: Collection[Coordinate]) -> dict[Coordinate, RowMapping]:
    """Return the index rows, retired ones too, of those coordinates that have one."""
    if not wanted:
        return {}
    columns = tuple_(snapshots.c.entity_id, snapshots.c.data_version, snapshots.c.dataset)
    places = [(place.entity_id, place.data_version, place.dataset) for place in wanted]
    rows = await conn.execute(select(snapshots).where(columns.in_(places)))
    return {coordinate_of(row): row for row in rows.mappings()}


def coordinate_of(row: RowMapping) -> Coordinate:
    """Return the coordinate of a process or snapshot row."""
    return Coordinate(row["entity_id"], row["data_version"], row["dataset"])
