"""Which profile an attempt gets after the one before it ran out of memory."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.messages import Profile
from contracts.tenancy import ProfileBounds
from contracts.views import GrantedProfile
from control.rules.sizing import cut_to
from control.tables import profiles


async def after_out_of_memory(conn: AsyncConnection, profile: GrantedProfile, bounds: ProfileBounds) -> GrantedProfile:
    """Return the grant with the memory of one published profile up, as far as ``bounds`` allow."""
    rows = await conn.execute(select(profiles.c.name, profiles.c.profile))
    return one_up(profile, {name: Profile.model_validate(figures) for name, figures in rows}, bounds)


def one_up(profile: GrantedProfile, named: Mapping[str, Profile], bounds: ProfileBounds) -> GrantedProfile:
    """Return the grant with the memory of the next larger of ``named``, cut to ``bounds``; its reason says what became.

    Only the two heaps grow, and none becomes less. The shape stays as it was granted: a published profile may have
    larger executors and fewer of them, so less memory in all, and shuffle partitions that are too few for this much
    data.
    """
    now = profile.granted
    has_executors = now.executor_instances > 0
    heaps = _heaps(now, has_executors=has_executors)
    candidates = {name: _heaps(each, has_executors=has_executors) for name, each in named.items()}
    larger = {name: each for name, each in candidates.items() if _is_larger(each, heaps)}
    if not larger:
        return _as_it_was(profile, "no published profile has more")
    name = min(larger, key=lambda each: (larger[each], each))
    above = named[name]
    more = {
        "driver_memory": max(now, above, key=lambda each: each.driver_memory_mb).driver_memory,
        "executor_memory": max(now, above, key=lambda each: each.executor_memory_mb).executor_memory,
    }
    full = now.model_copy(update=more)
    grown = cut_to(bounds, full)
    if not _is_larger(_heaps(grown, has_executors=has_executors), heaps):
        return _as_it_was(profile, "your tenant's bounds allow no more")
    cut = ", as far as your tenant's bounds allow" if grown != full else ""
    reason = f"the profile {name!r}{cut}: the attempt before ran out of memory"
    return GrantedProfile(requested=profile.requested, granted=grown, reason=reason)


def _as_it_was(profile: GrantedProfile, why: str) -> GrantedProfile:
    told = f"; the attempt before ran out of memory, and {why}"
    return profile.model_copy(update={"reason": profile.reason.removesuffix(told) + told})


def _heaps(profile: Profile, *, has_executors: bool) -> tuple[int, int]:
    """Return the heaps of driver and executor in MiB; those of executors that nobody starts do not count."""
    return profile.driver_memory_mb, profile.executor_memory_mb if has_executors and profile.executor_instances else 0


def _is_larger(candidate: tuple[int, int], now: tuple[int, int]) -> bool:
    return candidate != now and all(there >= here for there, here in zip(candidate, now, strict=True))
