"""What lies in the lake, by its keys: every commit, and every tombstone, below a prefix."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

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

_READERS = 16


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


def read_snapshots(lake: Lake, places: Iterable[Coordinate]) -> Iterator[Entry]:
    """Yield what is published at each place, in order; what has gone since it was listed is left out.

    Raises the lake's errors.
    """
    entries = _read(lambda place: open_snapshot(lake, place), places)
    return (entry for entry in entries if not isinstance(entry.found, MissingSnapshotError))


def read_tombstones(lake: Lake, places: Iterable[Coordinate]) -> Iterator[Entry]:
    """Yield the tombstone of each place, in order. Raises the lake's errors."""

    def read(place: Coordinate) -> Tombstone:
        body = lake.get(tombstone_key(place))
        if body is None:  # tombstones are never removed
            raise CorruptSnapshotError(f"{place}: its tombstone is listed and cannot be found")
        return Tombstone.parse(body, place)

    return _read(read, places)


def _read(
    read: Callable[[Coordinate], Snapshot] | Callable[[Coordinate], Tombstone], places: Iterable[Coordinate]
) -> Iterator[Entry]:
    def entry(place: Coordinate) -> Entry:
        try:
            return Entry(place, read(place))
        except SnapshotError as error:
            return Entry(place, error)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="published") as pool:
        yield from pool.map(entry, places)
