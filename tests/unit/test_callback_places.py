"""Who begins callbacks when there is not room for all."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from control.callbacks.places import Places, Receiver, Waiting, allot

PLACES = Places(in_all=20, per_host=4, per_tenant=10)
A, B, C = Receiver("a", "shared"), Receiver("b", "shared"), Receiver("c", "shared")


def due(*receivers: Receiver) -> list[Waiting]:
    """The first has waited longest."""
    return [Waiting(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n), each) for n, each in enumerate(receivers)]


def of(tenant: str, count: int) -> list[Receiver]:
    return [Receiver(tenant, f"{tenant}-{number}") for number in range(count)]


def given(
    waiting: list[Receiver], under_way: Mapping[Receiver, int] | None = None, most: Mapping[Receiver, int] | None = None
) -> Counter[Receiver]:
    return allot(due(*waiting), under_way or {}, PLACES, lambda each: (most or {}).get(each, PLACES.per_host))


def test_tenants_take_turns_at_a_host_that_they_share() -> None:
    assert given([A, B]) == {A: 2, B: 2}
    assert given([A, B, C]) == {A: 2, B: 1, C: 1}
    assert given([A, B], {A: 3}) == {B: 1}


def test_what_is_under_way_counts_for_the_host_and_for_the_tenant() -> None:
    assert given([A], {A: 1, B: 2}) == {A: 1}
    assert given([A], {A: 1, C: 3}) == {}
    hung = dict.fromkeys(of("a", 3), 3)
    assert given([*of("a", 5), B], hung) == {of("a", 5)[3]: 1, B: 4}


def test_a_free_place_goes_to_whoever_has_the_fewest() -> None:
    busy = dict.fromkeys((*of("a", 10), *of("b", 9)), 1)
    quiet = Receiver("c", "quiet")
    assert given([*of("a", 20), *of("b", 20), quiet], busy) == {quiet: 1}
    first, second, third = of("a", 3)
    assert given([first, second, third], {first: 2, second: 1, B: 4, **dict.fromkeys(of("c", 10), 1)}) == {
        second: 1,
        third: 2,
    }


def test_a_receiver_that_rests_takes_nothing_and_one_that_wakes_up_a_single_place() -> None:
    assert given([A, B], most={A: 0}) == {B: 4}
    assert given([A, B], most={A: 1}) == {A: 1, B: 3}
    assert given([A, B], {A: 1}, {A: 1}) == {B: 3}
