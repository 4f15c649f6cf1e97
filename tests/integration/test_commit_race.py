"""The bench of the commit sees what it should find: two winners, lost answers, and who was told something false."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.commit_race import Answer, RacingLake, Round, judge, race
from contracts.commit import digest
from contracts.identity import Coordinate
from resources.settings import LakeSettings
from tests.fake_s3 import FakeStore, fake_store
from tests.s3_server import lossy_proxy, settings_for

WRITERS = 4
PLACE = Coordinate("race", "v1", "made")


def raced(settings: LakeSettings) -> tuple[Round, int]:
    """Race once; return how it went and how many answers were lost."""
    lake = RacingLake(settings, "lake", WRITERS)
    with ThreadPoolExecutor(WRITERS) as pool:
        return race(lake, PLACE, pool), len(lake.unknown)


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        ((), Round(1, 0, 0)),
        (("overwrites",), Round(WRITERS, WRITERS - 1, 0)),
        (("corrupts",), Round(1, 1, 0)),
    ],
)
def test_who_was_told_something_false_is_counted(faults: tuple[str, ...], found: Round) -> None:
    with fake_store(FakeStore(*faults)) as settings:
        told = raced(settings)
    assert told == (found, 0)
    assert found.has_one_winner is not bool(faults)


def test_a_lost_answer_is_counted_though_the_publisher_finds_out() -> None:
    with fake_store(FakeStore()) as store, lossy_proxy(store.s3_endpoint or "") as (address, proxy):
        proxy.lose = WRITERS
        told = raced(settings_for(address))
    assert told == (Round(1, 0, 0), WRITERS)


def test_one_winner_is_one_who_knows_it() -> None:
    stored = b"{token: a}"
    loser = Answer("b", None)
    for answer, found in [
        (Answer("a", digest(stored)), Round(1, 0, 0)),
        (Answer("a", None), Round(0, 0, 1)),
        (Answer("c", digest(stored)), Round(1, 1, 0)),
        (Answer("a", digest(b"else")), Round(1, 1, 0)),
    ]:
        assert judge([loser, answer], stored) == found
    assert judge([loser], b"") == Round(0, 0, 0)
    assert not Round(0, 0, 0).has_one_winner
