"""Whoever reads beside writers that are killed sees a whole snapshot or none, and the same one for ever."""

import os
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bench.snapshot_reads import watch
from resources.settings import LakeSettings
from tests.fake_s3 import FakeStore, fake_store
from tests.s3_server import s3_server


def test_of_5000_reads_none_sees_a_part_or_another_one() -> None:
    with s3_server() as store:
        seen = watch(store, reads=5000, seed=7)
    assert seen.wrong == []
    assert seen.reads >= 5000
    # There was something to see: commits that came while they were waited for, and attempts that were cut short.
    assert min(seen.kills, len(seen.digests), seen.absent) >= 5


def write_a_little(
    _settings: LakeSettings, scratch: Path, _writer: int, first: int, told: Connection, *, begun: int, note: Path
) -> None:
    """A writer that begins so many snapshots and ends, without clearing up."""
    (scratch / f"left-by-{os.getpid()}").write_text("x")
    note.write_text(str(scratch))
    for number in range(first, first + begun):
        told.send(number)


@pytest.mark.parametrize("begun", [0, 20], ids=["at once", "while nobody listens"])
def test_a_writer_that_ends_by_itself_is_told_and_ends_the_watch(tmp_path: Path, begun: int) -> None:
    note = tmp_path / "scratch"
    with fake_store(FakeStore()) as settings:
        seen = watch(settings, reads=10**9, seed=7, writing=partial(write_a_little, begun=begun, note=note))
    assert seen.wrong
    assert {told.partition(" ended ")[2] for told in seen.wrong} == {"by itself, with exit code 0"}
    assert not Path(note.read_text()).exists()  # whoever is killed leaves it to its parent
