"""Which profile an attempt gets after the one before it ran out of memory."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.messages import Profile
from contracts.views import GrantedProfile
from control.tables import profiles


async def after_out_of_memory(conn: AsyncConnection, profile: GrantedProfile) -> GrantedProfile:
    """Return the grant one profile up, or the same when no published profile is larger."""
    rows = await conn.execute(select(profiles.c.name, profiles.c.profile))
    return one_up(profile, {name: Profile.model_validate(figures) for name, figures in rows})


def one_up(profile: GrantedProfile, named: Mapping[str, Profile]) -> GrantedProfile:
    """Return the grant with the next larger of ``named``: nowhere less memory than now, and somewhere more."""
    now = _memory(profile.granted)
    larger = {name: each for name, each in named.items() if _is_larger(_memory(each), now)}
    if not larger:
        return profile
    name = min(larger, key=lambda each: (_memory(larger[each]), each))
    reason = f"the profile {name!r}: the attempt before ran out of memory"
    return GrantedProfile(requested=profile.requested, granted=larger[name], reason=reason)


def _memory(profile: Profile) -> tuple[int, int]:
    """Return the heaps of driver and executor in MiB; without executors the driver does their work."""
    executor = profile.executor_memory_mb if profile.executor_instances else 0
    return profile.driver_memory_mb, executor


def _is_larger(candidate: tuple[int, int], now: tuple[int, int]) -> bool:
    return candidate != now and all(there >= here for there, here in zip(candidate, now, strict=True))
