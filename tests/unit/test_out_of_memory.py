"""Which profile follows an attempt that ran out of memory: never less of it, and no further than what is published."""

from hypothesis import given
from hypothesis import strategies as st

from assets.profiles import load_profiles
from contracts.messages import Profile
from contracts.tenancy import ProfileBounds
from contracts.views import GrantedProfile
from control.profiles import one_up

SMALL = Profile(driver_memory="1g", executor_instances=0)
MEDIUM = Profile(driver_memory="2g", executor_instances=2, executor_memory="4g")
LARGE = Profile(driver_memory="4g", executor_instances=8, executor_memory="16g")
FREE = ProfileBounds()
NAMED = {"small": SMALL, "medium": MEDIUM, "large": LARGE}


@st.composite
def _profiles(draw: st.DrawFn) -> Profile:
    instances = draw(st.one_of(st.integers(0, 3), st.integers(0, 100)))
    return Profile(
        driver_cores=draw(st.integers(1, 8)),
        driver_memory=draw(_memories),
        executor_memory=draw(_memories),
        executor_instances=instances,
        min_executors=draw(st.none() | st.integers(1, instances)) if instances else None,
        executor_cores=draw(st.integers(1, 8)),
        shuffle_partitions=draw(st.integers(1, 1000)),
        cpu_request=draw(st.sampled_from([None, "500m", "2"])),
    )


_memories = st.one_of(st.integers(1, 16).map(lambda size: f"{size}g"), st.integers(512, 16384).map(lambda mb: f"{mb}m"))
profiles = _profiles()


def granted(profile: Profile) -> GrantedProfile:
    return GrantedProfile(requested="small", granted=profile, reason="the action's own")


def memory(profile: Profile) -> tuple[int, int]:
    return profile.driver_memory_mb, profile.executor_memory_mb if profile.executor_instances else 0


def shape(profile: Profile) -> dict[str, object]:
    """Return all that is not memory."""
    return profile.model_dump(exclude={"driver_memory", "executor_memory"})


def enlarged(profile: Profile, driver: str, executor: str) -> Profile:
    return profile.model_copy(update={"driver_memory": driver, "executor_memory": executor})


def test_the_memory_of_the_next_larger_one_follows_with_its_reason_and_the_request_stays() -> None:
    found = one_up(granted(SMALL), NAMED, FREE)
    assert (found.requested, found.granted) == ("small", enlarged(SMALL, "2g", "4g"))
    assert found.reason == "the profile 'medium': the attempt before ran out of memory"


def test_many_executors_stay_many() -> None:
    wide = Profile(executor_instances=50, min_executors=10, executor_memory="4g", shuffle_partitions=800)
    assert one_up(granted(wide), NAMED, FREE).granted == enlarged(wide, "4g", "16g")


def test_the_largest_one_stays_as_it_is() -> None:
    assert one_up(granted(LARGE), NAMED, FREE).granted == LARGE
    assert one_up(granted(SMALL), {}, FREE).granted == SMALL


def test_figures_of_a_requests_own_count_by_their_memory() -> None:
    own = Profile(driver_memory="2g", executor_instances=1, executor_memory="5g", executor_cores=7)
    assert one_up(granted(own), NAMED, FREE).granted == enlarged(own, "4g", "16g")


def test_more_for_the_driver_does_not_pay_for_less_in_the_executors() -> None:
    lopsided = {"driver": Profile(driver_memory="64g", executor_instances=0)}
    assert one_up(granted(MEDIUM), lopsided, FREE).granted == MEDIUM


def test_memory_of_executors_that_there_are_none_of_does_not_count() -> None:
    idle = Profile(driver_memory="1g", executor_instances=0, executor_memory="64g")
    assert one_up(granted(idle), NAMED, FREE).granted == enlarged(idle, "2g", "64g")
    assert one_up(granted(SMALL), {"idle": idle}, FREE).granted == SMALL
    assert one_up(granted(MEDIUM), {"idle": enlarged(idle, "2g", "64g")}, FREE).granted == MEDIUM


def test_what_the_bounds_allow_is_taken_and_what_became_is_told() -> None:
    bounded = ProfileBounds(executor_memory="8g")
    first = one_up(granted(MEDIUM), NAMED, bounded)
    assert first.granted == enlarged(MEDIUM, "4g", "8g")
    assert first.reason == (
        "the profile 'large', as far as your tenant's bounds allow: the attempt before ran out of memory"
    )
    second = one_up(first, NAMED, bounded)
    assert second.granted == first.granted
    assert second.reason.endswith("; the attempt before ran out of memory, and your tenant's bounds allow no more")
    assert one_up(second, NAMED, bounded) == second
    assert one_up(granted(LARGE), NAMED, FREE).reason.endswith("and no published profile has more")


def test_of_two_alike_the_first_name_follows() -> None:
    assert "'b'" in one_up(granted(SMALL), {"c": MEDIUM, "b": MEDIUM, "large": LARGE}, FREE).reason


def test_the_shipped_profiles_are_a_ladder() -> None:
    shipped = load_profiles()
    second = one_up(granted(shipped["small"]), shipped, FREE)
    third = one_up(second, shipped, FREE)
    assert [memory(each.granted)[0] for each in (second, third)] == [2048, 4096]
    assert one_up(third, shipped, FREE).granted == third.granted
    assert memory(one_up(granted(shipped["medium"]), shipped, FREE).granted) == memory(shipped["large"])
    assert one_up(granted(shipped["large"]), shipped, FREE).granted == shipped["large"]


@given(profiles, st.dictionaries(st.sampled_from("abcdef"), profiles))
def test_nothing_shrinks_and_the_climb_ends(start: Profile, named: dict[str, Profile]) -> None:
    steps = [granted(start)]
    for _ in range(len(named) + 2):
        steps.append(one_up(steps[-1], named, FREE))
        before, after = (step.granted for step in steps[-2:])
        assert shape(after) == shape(before)
        assert covers(memory(after), memory(before))
        assert after.executor_memory_mb >= before.executor_memory_mb
        assert total(after) >= total(before)
        assert (memory(before) == memory(after)) == (after == before)
        assert Profile.model_validate(after.model_dump()) == after
    assert steps[-1] == steps[-2], "nor does its reason grow"
    published = [start, *named.values()]
    assert steps[-1].granted.driver_memory in {each.driver_memory for each in published}
    assert steps[-1].granted.executor_memory in {each.executor_memory for each in published}


@given(profiles, st.dictionaries(st.sampled_from("abcdef"), profiles))
def test_nothing_published_fits_between_two_steps(start: Profile, named: dict[str, Profile]) -> None:
    def heaps(profile: Profile) -> tuple[int, int]:
        driver, executor = memory(profile)
        return driver, executor if start.executor_instances else 0

    now, found = heaps(start), heaps(one_up(granted(start), named, FREE).granted)
    larger = [there for there in map(heaps, named.values()) if there != now and covers(there, now)]
    assert found in (larger or [now])
    assert not [there for there in larger if there != found and covers(found, there)]


def total(profile: Profile) -> int:
    return profile.driver_memory_mb + profile.executor_instances * profile.executor_memory_mb


def covers(there: tuple[int, int], here: tuple[int, int]) -> bool:
    return there[0] >= here[0] and there[1] >= here[1]
