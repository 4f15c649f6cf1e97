"""One pass over the lake: every tombstone and every commit, listed and read side by side, a bounded number at once."""

import asyncio
import string
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from contracts.identity import Coordinate
from contracts.storage import RETIRED_PREFIX, CorruptSnapshotError, committed_at_key, retired_at_key
from contracts.tombstone import Tombstone
from control.recovery.findings import Findings
from control.recovery.tombstones import read_tombstone
from control.snapshots import CommitReader, FoundCommit, read_commit
from control.together import together
from resources.lake.store import ObjectInfo

LISTINGS_AT_ONCE = 8
READS_AT_ONCE = 16
_PAGE = 1000
_FIRST_CHARACTERS = string.ascii_letters + string.digits
"""An entity_id begins with one of these: so many parts of the lake can be listed side by side."""
_Found = TypeVar("_Found")


class ListedLake(CommitReader, Protocol):
    """What a rebuild asks of the lake; ``resources.lake.store.Lake`` is one."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object below ``prefix``. Raises LakeError."""
        ...


class LakePass:
    """Hands on what it finds, a page at a time. What cannot be read is noted in ``findings`` and left out."""

    def __init__(self, lake: ListedLake, findings: Findings, progress: Callable[[], None]) -> None:
        self._lake = lake
        self._findings = findings
        self._progress = progress
        self._listing = asyncio.Semaphore(LISTINGS_AT_ONCE)
        self._reading = asyncio.Semaphore(READS_AT_ONCE)
        self.places: set[Coordinate] = set()
        """Where a commit lies, a corrupt one too."""

    async def tombstones(self, take: Callable[[Sequence[Tombstone]], Awaitable[None]]) -> None:
        """Give every tombstone to ``take``. Raises LakeError."""
        await self._part(RETIRED_PREFIX, retired_at_key, self.tombstone, take)

    async def commits(self, take: Callable[[Sequence[FoundCommit]], Awaitable[None]]) -> None:
        """Give every commit to ``take``, which is called several times at once. Raises LakeError."""
        await together(self._part(first, self._note_place, self.commit, take) for first in _FIRST_CHARACTERS)

    async def commit(self, place: Coordinate) -> FoundCommit | None:
        """Return what is committed at ``place``; None for nothing, and for what cannot be read. Raises LakeError."""
        return await self._read(read_commit(self._lake, place))

    async def tombstone(self, place: Coordinate) -> Tombstone | None:
        """Return the tombstone of ``place``; None for none, and for what cannot be read. Raises LakeError."""
        return await self._read(read_tombstone(self._lake, place))

    async def _part(
        self,
        prefix: str,
        place_at: Callable[[str], Coordinate | None],
        read: Callable[[Coordinate], Awaitable[_Found | None]],
        take: Callable[[Sequence[_Found]], Awaitable[None]],
    ) -> None:
        async with self._listing:
            listed = self._lake.list(prefix)
            while page := await asyncio.to_thread(lambda: list(islice(listed, _PAGE))):
                places = [place for found in page if (place := place_at(found.key))]
                read_now = await together(map(read, places))
                if whole := [found for found in read_now if found is not None]:
                    await take(whole)
                self._findings.objects += len(page)
                self._progress()

    async def _read(self, reading: Awaitable[_Found | None]) -> _Found | None:
        async with self._reading:
            try:
                return await reading
            except CorruptSnapshotError as error:
                self._findings.corrupt.append(str(error))
                return None

    def _note_place(self, key: str) -> Coordinate | None:
        place = committed_at_key(key)
        if place is not None:
            self.places.add(place)
        return place
