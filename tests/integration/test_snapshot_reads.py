"""Whoever reads beside writers that are killed sees a whole snapshot or none, and the same one for ever."""

from bench.snapshot_reads import watch
from tests.s3_server import s3_server


def test_of_5000_reads_none_sees_a_part_or_another_one() -> None:
    with s3_server() as store:
        seen = watch(store, reads=5000, seed=7)
    assert seen.wrong == []
    assert seen.reads >= 5000
    # There was something to see: commits that came while they were waited for, and attempts that were cut short.
    assert min(seen.kills, len(seen.digests), seen.absent) >= 5
