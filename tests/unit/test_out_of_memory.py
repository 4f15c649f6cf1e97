"""Which profile follows an attempt that ran out of memory: never less of it, and no further than what is published."""

from hypothesis import given
from hypothesis import strategies as st

from assets.profiles import load_profiles
from contracts.messages import Profile
from contracts.views import GrantedProfile
from control.profiles import one_up

SMALL = Profile(driver_memory="1g", executor_instances=0)
MEDIUM = Profile(driver_memory="2g", executor_instances=2, executor_memory="4g")
LARGE = Profile(driver_memory="4g", executor_instances=8, executor_memory="16g")
NAMED = {"small": SMALL, "medium": MEDIUM, "large": LARGE}

profiles = st.builds(
    Profile,
    driver_memory=st.integers(1, 16).map(lambda size: f"{size}g"),
    executor_memory=st.integers(1, 16).map(lambda size: f"{size}g"),
    executor_instances=st.integers(0, 3),
)


def granted(profile: Profile) -> GrantedProfile:
    return GrantedProfile(requested="small", granted=profile, reason="the action's own")


def memory(profile: Profile) -> tuple[int, int]:
    return profile.driver_memory_mb, profile.executor_memory_mb if profile.executor_instances else 0


def test_the_next_larger_one_follows_with_its_reason_and_the_request_stays() -> None:
    found = one_up(granted(SMALL), NAMED)
    assert (found.requested, found.granted) == ("small", MEDIUM)
    assert found.reason == "the profile 'medium': the attempt before ran out of memory"


def test_the_largest_one_stays_as_it_is() -> None:
    assert one_up(granted(LARGE), NAMED) == granted(LARGE)
    assert one_up(granted(SMALL), {}) == granted(SMALL)


def test_figures_of_a_requests_own_count_by_their_memory() -> None:
    own = Profile(driver_memory="2g", executor_instances=1, executor_memory="5g", executor_cores=7)
    assert one_up(granted(own), NAMED).granted == LARGE


def test_more_for_the_driver_does_not_pay_for_less_in_the_executors() -> None:
    lopsided = {"driver": Profile(driver_memory="64g", executor_instances=0)}
    assert one_up(granted(MEDIUM), lopsided) == granted(MEDIUM)


def test_memory_of_executors_that_there_are_none_of_does_not_count() -> None:
    idle = Profile(driver_memory="1g", executor_instances=0, executor_memory="64g")
    assert one_up(granted(idle), NAMED).granted == MEDIUM
    assert one_up(granted(SMALL), {"idle": idle}) == granted(SMALL)


def test_of_two_alike_the_first_name_follows() -> None:
    assert "'b'" in one_up(granted(SMALL), {"c": MEDIUM, "b": MEDIUM, "large": LARGE}).reason


def test_the_shipped_profiles_are_a_ladder() -> None:
    shipped = load_profiles()
    assert one_up(granted(shipped["small"]), shipped).granted == shipped["medium"]
    assert one_up(granted(shipped["medium"]), shipped).granted == shipped["large"]
    assert one_up(granted(shipped["large"]), shipped).granted == shipped["large"]


@given(profiles, st.dictionaries(st.sampled_from("abcdef"), profiles))
def test_memory_never_shrinks_and_the_climb_ends(start: Profile, named: dict[str, Profile]) -> None:
    steps = [granted(start)]
    for _ in range(len(named) + 1):
        steps.append(one_up(steps[-1], named))
        before, after = (memory(step.granted) for step in steps[-2:])
        assert before[0] <= after[0]
        assert before[1] <= after[1]
        assert (before == after) == (steps[-1] == steps[-2])
    assert steps[-1] == steps[-2]
    assert all(step.granted in named.values() for step in steps if step != steps[0])


@given(profiles, st.dictionaries(st.sampled_from("abcdef"), profiles))
def test_nothing_published_fits_between_two_steps(start: Profile, named: dict[str, Profile]) -> None:
    now, found = memory(start), memory(one_up(granted(start), named).granted)
    larger = [there for there in map(memory, named.values()) if there != now and covers(there, now)]
    assert found in (larger or [now])
    assert not [there for there in larger if there != found and covers(found, there)]


def covers(there: tuple[int, int], here: tuple[int, int]) -> bool:
    return there[0] >= here[0] and there[1] >= here[1]
