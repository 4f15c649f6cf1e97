"""gc: what attempts have left behind that published nothing. Token folders go that no commit names, nor ever can.

    1. the lake is listed; old folders are judged by the commit and the process that belong to them
    2. the marker ``_SUCCESS`` of each piece of garbage goes: whoever signs a commit from now on misses it and stops
    3. a pause, until the store has refused or stored every commit that was signed before 2
    4. each folder is listed and judged anew; what is garbage still goes with all it holds

Cut off anywhere, it begins again when it is said again. A snapshot whose commit comes in step 3 stays, without the
marker, which no reader looks at (docs/decisions/0015-what-is-garbage.md).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, select

from contracts.identity import Coordinate, execution_of
from contracts.storage import CorruptSnapshotError, place_prefix, success_key, token_at_key, token_prefix
from control.recovery.state import refuse_while_recovering
from control.rules.commit_time import commit_wait
from control.rules.garbage import Committed, Folder, Kept, is_young, why_kept
from control.snapshots import read_commit
from control.tables import processes
from control.tenancy.admin_log import note_admin
from control.together import together
from resources.database import Database
from resources.faults import crash_point
from resources.lake.store import Lake, ObjectInfo
from resources.settings import ControlSettings

_CHUNK = 500
_READS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Garbage:
    """One folder that may go, and how much is in it."""

    folder: Folder
    objects: int
    bytes: int

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        newest = self.folder.newest_at.isoformat(timespec="seconds")
        told = {"token": self.folder.token, "newest_at": newest, "objects": self.objects, "bytes": self.bytes}
        return asdict(self.folder.coordinate) | told


@dataclass(slots=True)
class Collected:
    """What was found: how many folders stay and why, and what is garbage; of it ``removed`` folders are gone."""

    kept: Counter[Kept] = field(default_factory=Counter)
    garbage: list[Garbage] = field(default_factory=list)
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects in the name of ``actor``. ``tell`` hears each step, ``progress`` how many of how many folders."""

    db: Database
    lake: Lake
    settings: ControlSettings
    actor: str
    tell: Callable[[str], None] = lambda _: None
    progress: Callable[[int, int], None] = lambda *_: None
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def look(self, entity_id: str | None = None) -> Collected:
        """Return what is garbage, of one entity or in the whole lake, and remove nothing.

        Raises ProblemError (recovering): a restored database does not know which processes have ended; and the lake's
        and the database's errors.
        """
        async with self.db.reading() as conn:
            await refuse_while_recovering(conn)
        now = await self._now()
        self.tell("Listing the lake.")
        listed = await asyncio.to_thread(lambda: list(_folders(self.lake.list(place_prefix(entity_id)))))
        found = Collected()
        old = [each for each in listed if not is_young(each.folder, now, self.settings)]
        found.kept[Kept.YOUNG] = len(listed) - len(old)
        for first in range(0, len(old), _CHUNK):
            await self._judge(old[first : first + _CHUNK], now, found)
            self.progress(min(first + _CHUNK, len(old)), len(old))
        return found

    async def collect(self, found: Collected) -> None:
        """Remove what ``look`` has found, after a pause and another look at each. Raises as ``look`` does."""
        if not found.garbage:
            return
        markers = [success_key(each.folder.coordinate, each.folder.token) for each in found.garbage]
        await asyncio.to_thread(self.lake.delete, markers)
        crash_point("G1")
        seconds = commit_wait(self.settings).total_seconds()
        self.tell(f"Waiting {seconds:g} s: a commit that was signed before could still arrive until then.")
        await self.wait(seconds)
        for number, each in enumerate(found.garbage, 1):
            found.removed += await self._remove(each.folder)
            self.progress(number, len(found.garbage))
            crash_point("G2")
        told = {"folders": found.removed, "found": len(found.garbage)}
        async with self.db.transaction() as conn:
            await note_admin(conn, self.actor, "garbage_removed", None, told)

    async def _remove(self, folder: Folder) -> bool:
        """Remove the folder if it is garbage still."""
        prefix = token_prefix(folder.coordinate, folder.token)
        listed = await asyncio.to_thread(lambda: list(self.lake.list(prefix)))
        again = Collected()
        await self._judge(list(_folders(iter(listed))), await self._now(), again)
        if again.garbage:
            await asyncio.to_thread(self.lake.delete, [found.key for found in listed])
        return bool(again.garbage)

    async def _judge(self, listed: Sequence[Garbage], now: datetime, found: Collected) -> None:
        commits = await self._commits({each.folder.coordinate for each in listed})
        rows = await self._processes({each.folder.token for each in listed})
        for each in listed:
            folder = each.folder
            row = rows.get(execution_of(folder.token))
            kept = why_kept(folder, commits[folder.coordinate], row, now, self.settings)
            if kept is None:
                found.garbage.append(each)
            else:
                found.kept[kept] += 1

    async def _commits(self, places: Iterable[Coordinate]) -> dict[Coordinate, Committed | None]:
        reading = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(place: Coordinate) -> tuple[Coordinate, Committed | None]:
            async with reading:
                try:
                    published = await read_commit(self.lake, place)
                except CorruptSnapshotError:
                    return place, Committed(None)
            return place, Committed(published.commit.provenance.token) if published else None

        return dict(await together(map(read, places)))

    async def _processes(self, tokens: Iterable[str]) -> dict[str, RowMapping]:
        columns = select(processes.c.id, processes.c.state, processes.c.permit_until)
        async with self.db.reading() as conn:
            rows = await conn.execute(
                columns.where(processes.c.id.in_([UUID(execution_of(token)) for token in tokens]))
            )
            return {str(row["id"]): row for row in rows.mappings()}

    async def _now(self) -> datetime:
        async with self.db.reading() as conn:
            now: datetime = (await conn.execute(select(func.now()))).scalar_one()
            return now


def _folders(listed: Iterator[ObjectInfo]) -> Iterator[Garbage]:
    """Yield the token folders among the objects; all else is nobody's to remove."""
    for place, objects in groupby(listed, key=lambda found: token_at_key(found.key)):
        if place is None:
            continue
        found = list(objects)
        times = [each.modified_at for each in found if each.modified_at is not None]
        if len(times) == len(found):  # of what age nobody knows, stays
            yield Garbage(Folder(*place, max(times)), len(found), sum(each.size for each in found))
