"""What is published: reading a commit from the lake, and the index of commits in PostgreSQL."""

import asyncio
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Label, RowMapping, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.callbacks import Artifact
from contracts.commit import Commit, digest
from contracts.identity import Coordinate
from contracts.problems import ProblemError
from contracts.storage import commit_key, dataset_prefix
from control.schema import Row
from control.tables import snapshots
from resources.lake.store import LakeUnavailableError

READ_SECONDS = 10.0
"""How long one look at the lake is waited for. The client's own patience is minutes, too long for a loop or a call."""
# Threads of their own: a lake that hangs holds up nobody but those who ask it.
_READERS = ThreadPoolExecutor(32, thread_name_prefix="lake")
_CONTENT = ("tenant_id", "process_id", "token", "artifact", "committed_at")


class CommitReader(Protocol):
    """The two things the control plane asks of the lake; ``resources.lake.store.Lake`` is one."""

    def get(self, key: str) -> bytes | None:
        """Return the object, or None when there is none. Raises LakeError when the store does not answer."""
        ...

    def url(self, key: str) -> str:
        """Return ``s3://bucket/key``."""
        ...


@dataclass(frozen=True, slots=True)
class FoundCommit:
    """A commit as it was read, and what is told of it."""

    commit: Commit
    artifact: Artifact


async def read_commit(
    lake: CommitReader, coordinate: Coordinate, *, wait_seconds: float = READ_SECONDS
) -> FoundCommit | None:
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
    # It names up to 100,000 files, which takes seconds: the loop has others to serve. Not in one of the threads above,
    # all of which may wait for the lake.
    return await asyncio.to_thread(commit_in, data, coordinate, lake.url(dataset_prefix(coordinate)))


def commit_in(data: bytes, coordinate: Coordinate, url: str) -> FoundCommit:
    """Read the commit ``data`` of the folder ``url``. Raises CorruptSnapshotError for a commit that is not ours."""
    commit = Commit.parse(data, coordinate)
    artifact = Artifact(
        path=url.rstrip("/"),
        rows=commit.rows,
        bytes=commit.size_bytes,
        files=len(commit.files),
        commit_digest=digest(data),
        committed_at=commit.committed_at,
    )
    return FoundCommit(commit, artifact)


async def record(conn: AsyncConnection, found: FoundCommit) -> None:
    """Index a commit. The lake is the truth, so what was noted before is replaced; what is retired stays so."""
    await record_all(conn, [found])


async def record_all(conn: AsyncConnection, found: Sequence[FoundCommit]) -> dict[Coordinate, bool]:
    """Index commits, each of another coordinate.

    Returns those that were indexed, and whether each was new; those that are not among them are retired.
    """
    row = upsert(snapshots).values([_indexed(each) for each in found])
    changes = {name: row.excluded[name] for name in _CONTENT}
    place = ("entity_id", "data_version", "dataset")
    kept = row.on_conflict_do_update(index_elements=place, set_=changes, where=snapshots.c.retired_at.is_(None))
    # Only a row that this very statement has inserted was never updated.
    is_new: Label[bool] = literal_column("xmax = 0").label("is_new")
    rows = await conn.execute(kept.returning(*(snapshots.c[name] for name in place), is_new))
    return {coordinate_of(each): each["is_new"] for each in rows.mappings()}


def _indexed(found: FoundCommit) -> dict[str, Any]:
    origin = found.commit.provenance
    content = (origin.tenant, origin.process_id, origin.token, found.artifact.model_dump(mode="json"))
    return {
        **asdict(found.commit.coordinate),
        **dict(zip(_CONTENT, (*content, found.artifact.committed_at), strict=True)),
    }


async def known(conn: AsyncConnection, wanted: Collection[Coordinate]) -> dict[Coordinate, RowMapping]:
    """Return the index rows, retired ones too, of those coordinates that have one."""
    if not wanted:
        return {}
    columns = tuple_(snapshots.c.entity_id, snapshots.c.data_version, snapshots.c.dataset)
    places = [(place.entity_id, place.data_version, place.dataset) for place in wanted]
    rows = await conn.execute(select(snapshots).where(columns.in_(places)))
    return {coordinate_of(row): row for row in rows.mappings()}


def refuse_retired(place: Coordinate, retired_at: datetime | None) -> None:
    """Return unless the coordinate was retired. Raises ProblemError (version_retired)."""
    if retired_at is not None:
        raise ProblemError("version_retired", f"{place} was retired at {retired_at.isoformat()}")


def coordinate_of(row: Row) -> Coordinate:
    """Return the coordinate of a process or snapshot row."""
    return Coordinate(row["entity_id"], row["data_version"], row["dataset"])
