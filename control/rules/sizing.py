"""How large a run is: at least what was asked for, and more where its input, or what earlier runs used, wants more.

``docs/profiles.md`` says it for users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from contracts.messages import Profile
from contracts.tenancy import ProfileBounds, TenantLimits, cores_of
from contracts.views import GrantedProfile

COMPARABLE = 0.5
"""An earlier run tells something about input of up to 1 / COMPARABLE times its own."""
MOST_SECONDS = 3600
"""The work should be done in an hour; a run that takes six is ended."""
BYTES_PER_PARTITION = 256 * 1024**2
_MOST_PARTITIONS = 100_000  # of a profile
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Past:
    """What one earlier run of the action used."""

    input_bytes: int
    heap_bytes: float
    """The highest heap: of its executors together, or of its driver where that computed."""
    core_seconds: float
    """How long it computed, times the cores that it was granted for that."""
    is_own: bool = False
    """Whether it was for the same entity."""
    was_short: bool = False
    """Whether it had to be given more memory: an earlier attempt had run out of it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known before a run."""

    input_bytes: int | None
    """Of the input snapshots whose size is known; None when there are none."""
    unknown: Sequence[str] = ()
    """The inputs whose size nobody could tell."""
    weight: float = 1.0
    """The action's: how much heap it wants for a byte of input."""
    past: Sequence[Past] = ()
    """What earlier runs of the action used, the newest first."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a run needs, and a sentence that says why."""

    input_bytes: int
    heap_bytes: float
    core_seconds: float
    told: str

    def is_met_by(self, profile: Profile) -> bool:
        """Whether ``profile`` is large enough."""
        heap, cores = size_of(profile)
        return heap >= self.heap_bytes and cores * MOST_SECONDS >= self.core_seconds


def decide(
    asked: GrantedProfile, named: Mapping[str, Profile], evidence: Evidence, limits: TenantLimits
) -> GrantedProfile:
    """Return the grant for a run that asks for ``asked``, which is within ``limits``.

    Where that is too small, it is raised to the smallest of ``named`` that is large enough, or else to the largest; no
    figure of ``asked`` is lowered, and none is raised beyond ``limits``.
    """
    need = need_of(evidence)
    rest = _uncounted(evidence, need)
    if need is None:
        return _granted(asked, asked.granted, f"{asked.reason}{rest}")
    asked = asked.model_copy(update={"granted": _split(asked.granted, need)})
    if need.is_met_by(asked.granted):
        return _granted(asked, asked.granted, f"{asked.reason}: enough for {need.told}{rest}")
    full = {name: _at_least(asked.granted, each) for name, each in named.items()}
    allowed = {name: _within(each, asked.granted, limits) for name, each in full.items()}
    enough = {name: each for name, each in allowed.items() if need.is_met_by(each)}
    order = {name: (size_of(each), name) for name, each in allowed.items()}
    name = min(enough, key=order.__getitem__) if enough else max(allowed, key=order.__getitem__, default=None)
    if name is None or (not enough and size_of(allowed[name]) <= size_of(asked.granted)):
        why = f"{asked.reason}: nothing larger may be had, although there are {need.told}{rest}"
        return _granted(asked, asked.granted, why)
    cut = ", as far as your tenant's bounds allow," if allowed[name] != full[name] else ""
    short = "" if enough else "; that is not enough, and there is no larger one"
    why = f"raised to the profile {name!r}{cut} from {asked.reason}: {need.told}{short}{rest}"
    return _granted(asked, allowed[name], why)


def need_of(evidence: Evidence) -> Need | None:
    """Return what the input needs: as earlier runs with about as much showed, or else by its size.

    The least of those counts, for what was enough once is enough; unless it was not, for this entity, later. A size
    that is not known is taken to be the largest that an earlier run for the entity read; None when there was none.
    """
    size, past = evidence.input_bytes, evidence.past
    if size is not None:
        told = f"{_bytes(size)} of input"
    else:
        past = [run for run in past if run.is_own]
        size = max((run.input_bytes for run in past), default=0)
        if size == 0:
            return None
        told = f"{_bytes(size)} of input, as much as an earlier run for this entity has read"
    comparable = _telling([run for run in past if run.input_bytes > 0 and run.input_bytes >= COMPARABLE * size])
    if not comparable:
        heap = size * evidence.weight
        return Need(size, heap, 0.0, f"{told}, which want {_bytes(heap)} of heap at weight {evidence.weight:g}")
    factors = [max(1.0, size / run.input_bytes) for run in comparable]
    heap = min(run.heap_bytes * factor for run, factor in zip(comparable, factors, strict=True))
    work = min(run.core_seconds * factor for run, factor in zip(comparable, factors, strict=True))
    runs = f"by what {len(comparable)} earlier run{'s' if len(comparable) > 1 else ''} used"
    return Need(size, heap, work, f"{told}, which want {_bytes(heap)} of heap and {work:.0f} core seconds {runs}")


def _telling(runs: Sequence[Past]) -> Sequence[Past]:
    """Return all of ``runs``; once the entity needed more memory than it had, only that run and its own later ones."""
    own = [run for run in runs if run.is_own]
    short = next((place for place, run in enumerate(own) if run.was_short), None)
    return runs if short is None else own[: short + 1]


def size_of(profile: Profile) -> tuple[int, int]:
    """Return heap in bytes and cores of what computes: the executors together, or the driver where there are none."""
    if profile.executor_instances == 0:
        return profile.driver_memory_mb * 1024**2, profile.driver_cores
    executors = profile.executor_instances
    return executors * profile.executor_memory_mb * 1024**2, executors * profile.executor_cores


def cut_to(bounds: ProfileBounds, profile: Profile) -> Profile:
    """Return ``profile`` with every figure that is beyond ``bounds`` lowered to them."""
    most = bounds.model_dump()
    return profile.model_copy(update={name: most[name] for name, _ in bounds.broken_by(profile)})


def _split(profile: Profile, need: Need) -> Profile:
    """Return ``profile`` with so many shuffle partitions that each can be borne, whatever its memory."""
    partitions = min(_MOST_PARTITIONS, ceil(need.input_bytes / BYTES_PER_PARTITION))
    return profile.model_copy(update={"shuffle_partitions": max(profile.shuffle_partitions, partitions)})


def _at_least(asked: Profile, larger: Profile) -> Profile:
    """Return, figure by figure, the larger one; what only the deployment decides is that of ``larger``."""
    figures = ("driver_cores", "executor_instances", "executor_cores", "shuffle_partitions")
    return larger.model_copy(
        update={
            **{name: max(getattr(asked, name), getattr(larger, name)) for name in figures},
            "driver_memory": max(asked, larger, key=lambda each: each.driver_memory_mb).driver_memory,
            "executor_memory": max(asked, larger, key=lambda each: each.executor_memory_mb).executor_memory,
        }
    )


def _within(profile: Profile, asked: Profile, limits: TenantLimits) -> Profile:
    """Return ``profile`` cut to ``limits``, but to no less than ``asked``, which keeps them."""
    cut = cut_to(limits.profile, profile)
    cores = limits.in_flight_cores
    if cores is not None and cores_of(cut) > cores:
        room = (cores - cut.driver_cores) // cut.executor_cores
        cut = cut.model_copy(update={"executor_instances": max(asked.executor_instances, room)})
        if cores_of(cut) > cores:  # more cores in each of as many executors as were asked for
            return asked
    fewest = min(cut.min_executors or 0, cut.executor_instances) or None
    return cut.model_copy(update={"min_executors": fewest})


def _granted(asked: GrantedProfile, profile: Profile, reason: str) -> GrantedProfile:
    return GrantedProfile(requested=asked.requested, granted=profile, reason=reason)


def _uncounted(evidence: Evidence, need: Need | None) -> str:
    if evidence.input_bytes is None and need is not None:
        return ""  # earlier runs stand in for all inputs
    if evidence.unknown:
        return f"; not counted, because the lake did not tell its size: {', '.join(evidence.unknown)}"
    return "" if evidence.input_bytes is not None else "; it reads no snapshot whose size is known before the run"


def _bytes(size: float) -> str:
    """Return ``size`` in the largest unit of which there is at least one."""
    step = 0
    while size >= 1000 and step < len(_UNITS) - 1:
        size, step = size / 1000, step + 1
    return f"{size:.3g} {_UNITS[step]}"
