"""Whoever reads beside writers that are killed sees a whole snapshot or none, and the same one for ever."""

from functools import partial
from multiprocessing.connection import Connection

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


def write_a_little(_settings: LakeSettings, _writer: int, first: int, told: Connection, *, begun: int) -> None:
    """A writer that begins so many snapshots and ends."""
    for number in range(first, first + begun):
        told.send(number)


@pytest.mark.parametrize("begun", [0, 20], ids=["at once", "while nobody listens"])
def test_a_writer_that_ends_by_itself_is_told_and_ends_the_watch(begun: int) -> None:
    with fake_store(FakeStore()) as settings:
        seen = watch(settings, reads=10**9, seed=7, writing=partial(write_a_little, begun=begun))
    assert seen.wrong
    assert {told.partition(" ended ")[2] for told in seen.wrong} == {"by itself, with exit code 0"}
