"""What lies in the lake, by its keys: every commit, and every tombstone, below a prefix."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TypeVar

from assets.snapshots.reader import Snapshot, open_snapshot
from contracts.identity import Coordinate
from contracts.storage import (
    RETIRED_PREFIX,
    CorruptSnapshotError,
    MissingSnapshotError,
    SnapshotError,
    committed_at_key,
    place_prefix,
    retired_at_key,
    tombstone_key,
)
from contracts.tombstone import Tombstone
from resources.lake.store import Lake

_READERS, _AHEAD = 16, 64
_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class Entry:
    """One coordinate as the lake has it: a snapshot, or a tombstone, or what cannot be read and why."""

    coordinate: Coordinate
    found: Snapshot | Tombstone | SnapshotError

    @property
    def at(self) -> datetime | None:
        """When it was committed, or retired; None for what cannot be read."""
        match self.found:
            case Snapshot(commit=commit):
                return commit.committed_at
            case Tombstone(retired_at=retired_at):
                return retired_at
            case _:
                return None


def committed(lake: Lake, entity_id: str | None = None, data_version: str | None = None) -> Iterator[Coordinate]:
    """Yield the coordinates that have a commit, in the order of keys: one request for each thousand objects there.

    Raises ValueError for what is no id, and the lake's errors.
    """
    keys = (found.key for found in lake.list(place_prefix(entity_id, data_version)))
    return (place for key in keys if (place := committed_at_key(key)))


def retired(lake: Lake, entity_id: str | None = None, data_version: str | None = None) -> Iterator[Coordinate]:
    """Yield the coordinates that have a tombstone. Raises as ``committed`` does."""
    keys = (found.key for found in lake.list(RETIRED_PREFIX + place_prefix(entity_id, data_version)))
    return (place for key in keys if (place := retired_at_key(key)))


def read_snapshots(lake: Lake, places: Iterable[Coordinate], tell: Callable[[Entry], _Told]) -> Iterator[_Told]:
    """Yield in order what ``tell`` says of each place; what has gone since it was listed is left out.

    ``tell`` is called by the thread that has read the entry. A commit may name 100,000 files, so let it keep little:
    the commits of few places are in memory at a time. Raises the lake's errors.
    """

    def look(place: Coordinate) -> list[_Told]:
        entry = _entry(place, lambda: open_snapshot(lake, place))
        return [] if isinstance(entry.found, MissingSnapshotError) else [tell(entry)]

    return chain.from_iterable(_read(look, places))


def read_tombstones(lake: Lake, places: Iterable[Coordinate], tell: Callable[[Entry], _Told]) -> Iterator[_Told]:
    """Yield in order what ``tell`` says of each place's tombstone. Raises the lake's errors."""

    def read(place: Coordinate) -> Tombstone:
        body = lake.get(tombstone_key(place))
        if body is None:  # tombstones are never removed
            raise CorruptSnapshotError(f"{place}: its tombstone is listed and cannot be found")
        return Tombstone.parse(body, place)

    return _read(lambda place: tell(_entry(place, lambda: read(place))), places)


def _entry(place: Coordinate, read: Callable[[], Snapshot | Tombstone]) -> Entry:
    try:
        return Entry(place, read())
    except SnapshotError as error:
        return Entry(place, error)


def _read(look: Callable[[Coordinate], _Told], places: Iterable[Coordinate]) -> Iterator[_Told]:
    """Look at many places at once, and never further ahead of who asks than ``_AHEAD``."""
    ahead: deque[Future[_Told]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="published") as pool:
        try:
            for place in places:
                ahead.append(pool.submit(look, place))
                if len(ahead) == _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()
