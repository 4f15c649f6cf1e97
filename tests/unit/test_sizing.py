"""Which profile a process is granted, from a kilobyte to ten terabytes of input."""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.profiles import load_profiles
from contracts.messages import Profile
from contracts.tenancy import ProfileBounds, TenantLimits, cores_of
from contracts.views import GrantedProfile
from control.rules.sizing import Evidence, Past, decide, need_of, size_of

KB, MB, GB, TB = 1000, 1000**2, 1000**3, 1000**4
NAMED = load_profiles()
NO_LIMITS = TenantLimits()
FIGURES = ("driver_cores", "driver_memory_mb", "executor_instances", "executor_cores", "executor_memory_mb")


def ask(profile: Profile) -> GrantedProfile:
    return GrantedProfile(requested=None, granted=profile, reason="the action's own profile")


def grant(evidence: Evidence, asked: str = "small", limits: TenantLimits = NO_LIMITS) -> GrantedProfile:
    return decide(ask(NAMED[asked]), NAMED, evidence, limits)


@pytest.mark.parametrize(
    ("size", "weight", "asked", "expected"),
    [
        (1 * KB, 1.0, "small", "small"),
        (1 * MB, 1.0, "small", "small"),
        (1 * MB, 1.0, "large", "large"),  # never less than requested
        (1 * GB, 1.0, "small", "small"),
        (1 * GB, 2.0, "small", "medium"),
        (1 * GB, 20.0, "small", "large"),
        (2 * GB, 1.0, "small", "medium"),
        (2 * GB, 0.1, "small", "small"),
        (8 * GB, 1.0, "small", "medium"),
        (9 * GB, 1.0, "small", "large"),
        (100 * GB, 1.0, "medium", "large"),
        (1 * TB, 0.1, "small", "large"),
        (100 * GB, 1.0, "large", "large"),  # large enough for its memory, and still split
        (1 * TB, 1.0, "large", "large"),
        (10 * TB, 1.0, "small", "large"),
        (10 * TB, 1.0, "large", "large"),
    ],
)
def test_the_smallest_named_profile_that_is_large_enough(size: int, weight: float, asked: str, expected: str) -> None:
    found = grant(Evidence(size, weight=weight), asked)
    named = NAMED[expected]
    partitions = max(named.shuffle_partitions, ceil(size / 2**28))
    assert found.granted == named.model_copy(update={"shuffle_partitions": partitions})
    assert ("raised" in found.reason) == (asked != expected)


def test_ten_terabytes_get_the_largest_with_partitions_of_a_bearable_size_and_say_why() -> None:
    found = grant(Evidence(10 * TB))
    assert size_of(found.granted) == size_of(NAMED["large"])
    assert 10 * TB / found.granted.shuffle_partitions <= 256 * 1024**2
    assert found.reason == (
        "raised to the profile 'large' from the action's own profile: "
        "10 TB of input, which want 10 TB of heap at weight 1; that is not enough, and there is no larger one"
    )
    assert "nothing larger may be had" in grant(Evidence(10 * TB), "large").reason


def test_what_is_not_known_raises_nothing_and_is_told() -> None:
    for evidence, why in (
        (Evidence(None), "no snapshot whose size is known"),
        (Evidence(None, ["orders"]), "did not tell its size: orders"),
        (Evidence(None, past=[Past(0, 9 * GB, 1.0, is_own=True)]), "no snapshot whose size is known"),
        (Evidence(None, past=[Past(GB, 9 * GB, 1.0)]), "no snapshot whose size is known"),  # of other entities
        (Evidence(5 * KB, ["orders"]), "5 kB of input, which want 5 kB of heap at weight 1; not counted"),
    ):
        found = grant(evidence)
        assert (found.granted, why in found.reason) == (NAMED["small"], True)


def test_history_counts_before_the_size_and_the_least_that_was_enough_counts() -> None:
    enough, lavish = Past(10 * GB, 3 * GB, 900.0), Past(12 * GB, 100 * GB, 900.0)
    found = grant(Evidence(10 * GB, past=[lavish, enough]))
    assert found.granted == NAMED["medium"].model_copy(update={"shuffle_partitions": 38})
    assert "3 GB of heap and 900 core seconds by what 2 earlier runs used" in found.reason


def test_what_ran_out_of_memory_for_an_entity_is_not_tried_with_less_again() -> None:
    light, other = Past(GB // 2, GB // 5, 9.0, is_own=True), Past(GB, GB // 5, 9.0)
    short, later = Past(GB, 3 * GB, 9.0, is_own=True, was_short=True), Past(GB, 2 * GB, 9.0, is_own=True)
    assert grant(Evidence(GB, past=[other, light])).granted == NAMED["small"]
    for past, heap in (
        ([other, short, light], 3 * GB),
        ([other, later, short, light], 2 * GB),  # more recent, and enough
        ([replace(short, is_own=False), other], GB // 5),  # another entity's may be another case
    ):
        need = need_of(Evidence(GB, past=past))
        assert need is not None
        assert need.heap_bytes == heap


def test_history_grows_with_the_input_and_that_of_much_less_input_tells_nothing() -> None:
    half = need_of(Evidence(10 * GB, past=[Past(5 * GB, 2 * GB, 100.0)]))
    assert half is not None
    assert (half.heap_bytes, half.core_seconds) == (4 * GB, 200.0)
    much_less = need_of(Evidence(10 * GB, past=[Past(1 * KB, GB // 2, 5.0), Past(0, GB // 2, 5.0)]))
    assert much_less is not None
    assert (much_less.heap_bytes, much_less.core_seconds) == (10 * GB, 0)


@pytest.mark.parametrize(
    ("past", "asked", "expected", "why"),
    [
        # One that was tried again with more memory, and one of another time, with much less input.
        ([Past(GB, 6 * GB, 60.0), Past(MB, MB, 1.0)], "small", "medium", "which want 6 GB of heap and 60 core seconds"),
        ([Past(GB, 6 * GB, 60.0), Past(MB, MB, 1.0)], "large", "large", "enough for 1 GB of input, as much as an"),
        # Once with far more than was needed: that is no reason to do so again.
        ([Past(GB, 90 * GB, 9.0), Past(900 * MB, GB // 2, 9.0)], "small", "small", "by what 2 earlier runs used"),
        ([Past(MB, MB, 3 * 3600.0)], "small", "medium", "raised to the profile 'medium'"),
    ],
)
def test_input_of_unknown_size_is_taken_to_be_as_large_as_what_earlier_runs_for_the_entity_read(
    past: list[Past], asked: str, expected: str, why: str
) -> None:
    own = [replace(run, is_own=True) for run in past]
    for unknown in ([], ["orders"]):
        found = grant(Evidence(None, unknown, weight=1000.0, past=own), asked)
        assert size_of(found.granted) == size_of(NAMED[expected])
        assert why in found.reason
        assert "not counted" not in found.reason


def test_work_of_hours_gets_the_cores_that_do_it_in_one() -> None:
    assert size_of(grant(Evidence(MB, past=[Past(MB, MB, 3 * 3600.0)])).granted) == size_of(NAMED["medium"])


def test_a_tenant_gets_what_its_bounds_leave() -> None:
    few = TenantLimits(in_flight_cores=20, profile=ProfileBounds(executor_memory="8g"))
    found = grant(Evidence(100 * GB), limits=few)
    assert (found.granted.executor_instances, found.granted.executor_memory) == (4, "8g")
    assert cores_of(found.granted) == 20
    assert "as far as your tenant's bounds allow" in found.reason


_memories = st.integers(512, 32768).map(lambda mb: f"{mb}m")
_profiles = st.builds(
    Profile,
    driver_cores=st.integers(1, 8),
    driver_memory=_memories,
    executor_instances=st.integers(0, 20),
    executor_cores=st.integers(1, 8),
    executor_memory=_memories,
)
_past = st.lists(
    st.builds(Past, st.integers(0, TB), st.floats(0, 1e12), st.floats(0, 1e6), st.booleans(), st.booleans()), max_size=4
)
_evidence = st.builds(
    Evidence, st.none() | st.integers(0, 10 * TB), st.just(()), st.floats(0.01, 1000, exclude_min=True), _past
)


@given(_profiles, st.dictionaries(st.sampled_from("abc"), _profiles), _evidence, st.integers(0, 40), _profiles)
def test_no_grant_is_less_than_asked_or_beyond_the_bounds(
    asked: Profile, named: dict[str, Profile], evidence: Evidence, more_cores: int, room: Profile
) -> None:
    bounds = {name: max(getattr(asked, name), getattr(room, name)) for name in FIGURES if not name.endswith("_mb")}
    limits = TenantLimits(in_flight_cores=cores_of(asked) + more_cores, profile=ProfileBounds(**bounds))
    found = decide(ask(asked), named, evidence, limits)
    assert all(getattr(found.granted, name) >= getattr(asked, name) for name in FIGURES)
    assert found.granted.shuffle_partitions >= asked.shuffle_partitions
    assert not limits.profile.broken_by(found.granted)
    assert cores_of(found.granted) <= cores_of(asked) + more_cores
    Profile.model_validate(found.granted.model_dump())
    need = need_of(evidence)
    is_enough = [
        need is None or need.is_met_by(each)
        for each in named.values()
        if all(getattr(each, name) >= getattr(asked, name) for name in FIGURES)
        and not limits.profile.broken_by(each)
        and cores_of(each) <= cores_of(asked) + more_cores
    ]
    assert need is None or need.is_met_by(found.granted) or not any(is_enough)
