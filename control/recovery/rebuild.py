"""Rebuild: what the lake knows, put back into a database that was restored to an earlier moment.

    1. recovering: nothing new is accepted or released from now on
    2. a pause, until every commit that the lost database may have permitted has appeared or never will
    3. the tombstones, then the commits: into the index, and the processes that they end
    4. whose the entities are, and what the index has and the lake has not
    5. no longer recovering

Everything may be cut off anywhere and done again; 5 comes only after a pass that was whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Tuple, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.problems import LakemillError
from contracts.tombstone import Tombstone
from control.recovery.ended import end_published, end_retired
from control.recovery.findings import Findings
from control.recovery.lake_pass import LakePass, ListedLake
from control.recovery.owners import Claims, restore_owners
from control.recovery.state import begin, end, suppose_permits
from control.recovery.tombstones import record_retired
from control.rules.commit_time import commit_wait
from control.snapshots import FoundCommit, coordinate_of, record_all
from control.tables import processes, snapshots
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

REBUILD_LOCK = 0x6C616B65_00000004
_PAGE = 5000


class RebuildRunningError(LakemillError):
    """Another rebuild is under way; one is enough."""


@dataclass(frozen=True, slots=True)
class Rebuilder:
    """Rebuilds in the name of ``actor``. ``tell`` hears each step, ``progress`` the findings as they grow."""

    db: Database
    lake: ListedLake
    settings: ControlSettings
    actor: str
    tell: Callable[[str], None] = lambda _: None
    progress: Callable[[Findings], None] = lambda _: None
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def rebuild(self) -> Findings:
        """Return what was done and found; ``is_over`` says whether submits are accepted again.

        Raises RebuildRunningError, and the lake's and the database's errors: then it is not over; say it again.
        """
        async with self.db.exclusive(REBUILD_LOCK) as held:
            if not held:
                raise RebuildRunningError("another rebuild is under way; one is enough")
            await self._outwait(await self._begin())
            findings, claims = Findings(), Claims()
            await self._read_lake(findings, claims)
            await restore_owners(self.db, claims.owners(), findings)
            async with self.db.transaction() as conn:
                await end(conn, self.actor, findings.counts(), is_over=findings.is_over)
        return findings

    async def _begin(self) -> datetime:
        async with self.db.transaction() as conn:
            began_at = await begin(conn, self.actor)
            await suppose_permits(conn, began_at + timedelta(seconds=self.settings.permit_seconds))
        since = began_at.isoformat(timespec="seconds")
        self.tell(f"Recovering since {since}: submits are refused until this has ended.")
        crash_point("V1")
        return began_at

    async def _outwait(self, began_at: datetime) -> None:
        async with self.db.reading() as conn:
            now: datetime = (await conn.execute(select(func.now()))).scalar_one()
        left = (began_at + commit_wait(self.settings) - now).total_seconds()
        if left > 0:
            self.tell(f"Waiting {left:.0f} s: a commit that the lost database permitted could still arrive until then.")
            await self.wait(left)

    async def _read_lake(self, findings: Findings, claims: Claims) -> None:
        lake_pass = LakePass(self.lake, findings, lambda: self.progress(findings))

        async def bury(stones: Sequence[Tombstone]) -> None:
            for stone in stones:
                claims.note(stone.entity_id, stone.tenant, stone.artifact)
            async with self.db.transaction() as conn:
                await record_retired(conn, stones)
                ended = await end_retired(conn, stones)
            findings.ended += ended
            findings.retired += len(stones)

        async def index(found: Sequence[FoundCommit]) -> None:
            for each in found:
                claims.note(each.commit.coordinate.entity_id, each.commit.provenance.tenant, each.artifact)
            await self._index(found, findings)
            crash_point("V3")

        self.tell("Reading the tombstones.")
        await lake_pass.tombstones(bury)
        crash_point("V2")
        self.tell("Reading the commits.")
        await lake_pass.commits(index)
        await self._note_missing(lake_pass, findings)

    async def _index(self, found: Sequence[FoundCommit], findings: Findings) -> None:
        by_place = {each.commit.coordinate: each.commit.provenance.process_id for each in found}
        async with self.db.transaction() as conn:
            written = await record_all(conn, found)
            new = {by_place[place]: place for place, is_new in written.items() if is_new}
            lost = await _unknown_processes(conn, {process_id for process_id in new if process_id is not None})
        findings.snapshots += len(found)
        findings.restored += sum(written.values())
        findings.unfinished += [str(place) for place in by_place if place not in written]
        findings.unknown_processes += [f"{new[process_id]}: process {process_id}" for process_id in lost]
        ended = await end_published(self.db, self.lake, list(by_place))
        findings.ended += ended  # in one step: other pages are taken in meanwhile

    async def _note_missing(self, lake_pass: LakePass, findings: Findings) -> None:
        """Find what the index has and the lake has not. Such a row stays: its coordinate was published."""
        place = (snapshots.c.entity_id, snapshots.c.data_version, snapshots.c.dataset)
        query = select(*place).where(snapshots.c.retired_at.is_(None)).order_by(*place).limit(_PAGE)
        last: Coordinate | None = None
        while True:
            after = () if last is None else (tuple_(*place) > _row(last),)
            async with self.db.reading() as conn:
                rows = [coordinate_of(row) for row in (await conn.execute(query.where(*after))).mappings()]
            for unseen in (each for each in rows if each not in lake_pass.places):
                # It may have been published since its part was listed.
                if await lake_pass.commit(unseen) is None:
                    findings.missing.append(str(unseen))
            if len(rows) < _PAGE:
                return
            last = rows[-1]


async def _unknown_processes(conn: AsyncConnection, wanted: set[UUID]) -> list[UUID]:
    if not wanted:
        return []
    known = await conn.execute(select(processes.c.id).where(processes.c.id.in_(wanted)))
    return sorted(wanted - set(known.scalars()))


def _row(place: Coordinate) -> Tuple:
    return tuple_(literal(place.entity_id), literal(place.data_version), literal(place.dataset))
