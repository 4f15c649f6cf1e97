"""Looking at many commits: in order, a bounded number ahead of who asks, and none of them kept."""

import gc
import weakref
from pathlib import Path

import pytest

from assets.snapshots.published import Entry, read_snapshots, read_tombstones
from assets.snapshots.reader import Snapshot
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, commit_key, tombstone_key
from contracts.tombstone import Tombstone
from resources.lake.folder import FileLake
from resources.lake.store import LakeUnavailableError
from tests.integration.memory_lake import tombstone
from tests.unit.test_commit import sample

PLACES = [Coordinate("e", f"v{number:03d}", "made") for number in range(300)]
MOST_AHEAD = 64


class NotedLake(FileLake):
    """A lake of many commits that notes what is read, and gives out at what is ``unreachable``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []
        self.unreachable = ""
        for place in PLACES:
            self.put(commit_key(place), sample().model_copy(update={"coordinate": place}).encode())

    def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        if key == self.unreachable:
            raise LakeUnavailableError("no answer")
        return super().get(key)


@pytest.fixture
def lake(tmp_path: Path) -> NotedLake:
    return NotedLake(tmp_path)


def told(entry: Entry) -> tuple[Coordinate, type]:
    return entry.coordinate, type(entry.found)


def test_what_is_told_comes_in_order_and_lacks_what_has_gone(lake: NotedLake) -> None:
    lake.delete([commit_key(PLACES[7])])
    lake.put(commit_key(PLACES[9]), b"damaged")
    found = list(read_snapshots(lake, PLACES, told))
    kinds = {PLACES[9]: CorruptSnapshotError}
    assert found == [(place, kinds.get(place, Snapshot)) for place in PLACES if place != PLACES[7]]
    lake.put(tombstone_key(PLACES[7]), tombstone(PLACES[7]).encode())
    assert list(read_tombstones(lake, PLACES[7:9], told)) == [(PLACES[7], Tombstone), (PLACES[8], CorruptSnapshotError)]


def test_no_commit_is_kept_once_it_was_told_of(lake: NotedLake) -> None:
    commits: list[weakref.ref[Commit]] = []

    def rows(entry: Entry) -> int:
        assert isinstance(entry.found, Snapshot)
        commits.append(weakref.ref(entry.found.commit))
        return entry.found.commit.rows

    assert sum(read_snapshots(lake, PLACES, rows)) == 2 * len(PLACES)
    gc.collect()
    assert [commit for commit in commits if commit() is not None] == []


def test_nobody_reads_far_ahead_of_who_asks_and_nothing_more_once_the_lake_gave_out(lake: NotedLake) -> None:
    lake.unreachable = commit_key(PLACES[100])
    found = read_snapshots(lake, PLACES, told)
    for number in range(100):
        next(found)
        assert len(lake.asked) <= number + MOST_AHEAD
    with pytest.raises(LakeUnavailableError):
        list(found)
    assert len(lake.asked) <= 100 + MOST_AHEAD
