"""Retire: the only way a snapshot leaves. It is said in the database, then in the lake, then carried out.

    1. the row: from now on nothing is accepted for the coordinate, and no commit is permitted
    2. the tombstone: from now on no run computes or commits there, whatever the database knows
    3. a pause, until the store refuses every commit that was signed before 2
    4. the commit goes: no reader finds the snapshot any more
    5. its files go

Cut off anywhere, it goes on when it is said again (docs/decisions/0011-retire-and-rebuild.md).

RetireError
├── UnknownSnapshotError     nothing is published there, and nothing was
└── ProcessNotEndedError     a process at the coordinate has not ended; it may have committed this very snapshot
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.callbacks import Artifact
from contracts.identity import Coordinate
from contracts.problems import LakemillError
from contracts.storage import CorruptSnapshotError, commit_key, token_prefix, tombstone_key
from contracts.tombstone import Tombstone
from control.recovery.tombstones import read_tombstone, record_retired
from control.rules.commit_time import commit_wait
from control.snapshots import FoundCommit, known, read_commit, record
from control.tables import ACTIVE_SQL, processes, snapshots
from control.tenancy.admin_log import note_admin
from resources.database import Database
from resources.faults import crash_point
from resources.lake.store import Lake
from resources.settings import ControlSettings

_CHUNK = 100
"""Files that are removed between two looks at the crash point."""


class RetireError(LakemillError):
    """The root: nothing was changed."""


class UnknownSnapshotError(RetireError):
    """Nothing is published there, and nothing was. Check the coordinate: ``GET /v1/snapshots`` lists what there is."""


class ProcessNotEndedError(RetireError):
    """A process at the coordinate has not ended. Wait until it has, or cancel it, and say it again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What lies at a coordinate, for whoever is asked whether it may go."""

    artifact: Artifact
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Retirer:
    """Retires snapshots in the name of ``actor``. ``tell`` hears each step; ``wait`` sleeps for so many seconds."""

    db: Database
    lake: Lake
    settings: ControlSettings
    actor: str
    tell: Callable[[str], None] = lambda _: None
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def look(self, place: Coordinate) -> Standing:
        """Return what lies there. Raises UnknownSnapshotError, CorruptSnapshotError, the lake's and the database's."""
        stone = await read_tombstone(self.lake, place)
        if stone is not None:
            return Standing(stone.artifact, stone.retired_at)
        async with self.db.reading() as conn:
            row = (await known(conn, [place])).get(place)
        found = await self._committed(place, is_known=row is not None)
        if found is not None:
            return Standing(found.artifact, row["retired_at"] if row else None)
        if row is None:
            raise _unknown(place)
        return Standing(Artifact.model_validate(row["artifact"]), row["retired_at"])

    async def retire(self, place: Coordinate) -> int:
        """Retire a snapshot, or go on with that; returns how many objects were removed.

        Raises RetireError, CorruptSnapshotError (a commit that nobody can read, of a snapshot that the index does not
        know), and the lake's and the database's errors: then say it again.
        """
        earlier = await read_tombstone(self.lake, place)
        stone = await (self._bury(place) if earlier is None else self._again(earlier))
        # Said again it waits again: without a commit nobody knows whether the call before was cut off in its pause.
        await self._outwait()
        has_commit = await asyncio.to_thread(self.lake.get, commit_key(place)) is not None
        await asyncio.to_thread(self.lake.delete, [commit_key(place)])
        self.tell("Its commit is removed: nobody finds it any more.")
        crash_point("T3")
        removed = int(has_commit) + await self._remove_files(place, stone.token)
        async with self.db.transaction() as conn:
            told = {"snapshot": str(place), "token": stone.token, "objects": removed}
            await note_admin(conn, self.actor, "snapshot_removed", stone.tenant, told)
        return removed

    async def _again(self, stone: Tombstone) -> Tombstone:
        async with self.db.transaction() as conn:
            await record_retired(conn, [stone])  # a restored database may not know it
        self.tell(f"It was retired at {stone.retired_at.isoformat(timespec='seconds')} by {stone.retired_by}.")
        return stone

    async def _bury(self, place: Coordinate) -> Tombstone:
        """Retire it in the index and in the lake; returns the tombstone."""
        row = await self._mark(place)
        crash_point("T1")
        stone = _stone_of(row, self.actor)
        await asyncio.to_thread(self.lake.put, tombstone_key(place), stone.encode())
        self.tell("It is retired: nothing will be accepted, computed or committed there.")
        crash_point("T2")
        return stone

    async def _mark(self, place: Coordinate) -> RowMapping:
        """Mark the snapshot's row as retired, unless it is; returns it. Raises RetireError, CorruptSnapshotError."""
        async with self.db.transaction() as conn:
            is_known = place in await known(conn, [place])
        found = await self._committed(place, is_known=is_known)
        async with self.db.transaction() as conn:
            if found is not None:
                await record(conn, found)
            row = (await known(conn, [place])).get(place)
            if row is None:
                raise _unknown(place)
            if row["retired_at"] is not None:
                return row
            await _refuse_active(conn, place)
            here = [snapshots.c[name] == row[name] for name in ("entity_id", "data_version", "dataset")]
            mark = update(snapshots).where(*here).values(retired_at=func.now()).returning(*snapshots.c)
            told = {"snapshot": str(place), "commit_digest": row["artifact"]["commit_digest"], "token": row["token"]}
            await note_admin(conn, self.actor, "snapshot_retired", row["tenant_id"], told)
            return (await conn.execute(mark)).mappings().one()

    async def _committed(self, place: Coordinate, *, is_known: bool) -> FoundCommit | None:
        try:
            return await read_commit(self.lake, place)
        except CorruptSnapshotError:
            if is_known:  # the index tells whose folder it was, and what was told of it
                return None
            raise

    async def _outwait(self) -> None:
        """Sleep until the store lets none of the commits begin, or end, that were signed before the tombstone."""
        seconds = commit_wait(self.settings).total_seconds()
        self.tell(f"Waiting {seconds:g} s: a commit that was permitted before could still arrive until then.")
        await self.wait(seconds)

    async def _remove_files(self, place: Coordinate, token: str) -> int:
        # Whatever the commit named lies below the token, or it would not have been read as a commit.
        listed = await asyncio.to_thread(lambda: list(self.lake.list(token_prefix(place, token))))
        keys = [found.key for found in listed]
        for first in range(0, len(keys), _CHUNK):
            await asyncio.to_thread(self.lake.delete, keys[first : first + _CHUNK])
            crash_point("T4")
        return len(keys)


async def _refuse_active(conn: AsyncConnection, place: Coordinate) -> None:
    here = [processes.c[name] == getattr(place, name) for name in ("entity_id", "data_version", "dataset")]
    process_id = await conn.scalar(select(processes.c.id).where(*here, ACTIVE_SQL))
    if process_id is not None:
        raise ProcessNotEndedError(f"{place}: process {process_id} has not ended; wait until it has, or cancel it")


def _stone_of(row: RowMapping, actor: str) -> Tombstone:
    return Tombstone(
        entity_id=row["entity_id"],
        data_version=row["data_version"],
        dataset=row["dataset"],
        retired_at=row["retired_at"],
        retired_by=actor,
        token=row["token"],
        tenant=row["tenant_id"],
        process_id=row["process_id"],
        artifact=Artifact.model_validate(row["artifact"]),
    )


def _unknown(place: Coordinate) -> UnknownSnapshotError:
    return UnknownSnapshotError(f"{place}: nothing is published there; 'GET /v1/snapshots' lists what there is")
