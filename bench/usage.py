"""What each server of a stack used of the processors, and how busy everything else on the machine was meanwhile."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import psutil

from deploy.local.stack import Stack


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used from one moment to another, in seconds of one core."""

    seconds: float
    """Of the clock on the wall."""
    cores: int
    of: dict[str, float]
    """Server → user and system time of all its processes, those that have ended included."""
    machine: float
    """Of the whole machine, whoever used it."""

    def share(self, server: str) -> float:
        """Return the percentage of all cores' time that ``server`` used."""
        return 100 * self.of[server] / (self.seconds * self.cores)

    @property
    def elsewhere(self) -> float:
        """The percentage of all cores' time that others than these servers used: the load generator, and noise."""
        return 100 * (self.machine - sum(self.of.values())) / (self.seconds * self.cores)


class Meter:
    """Begins to count when it is made. ``others`` are servers beside the stack: name → process id."""

    def __init__(self, stack: Stack, others: Mapping[str, int] = MappingProxyType({})) -> None:
        self._stack = stack
        self._others = others
        self._names = [row.name for row in stack.status() if row.pid is not None]
        self._began, self._machine, self._before = time.monotonic(), _machine(), self._read()

    def read(self) -> Usage:
        """Return what was used since the beginning; a server that was started anew meanwhile, since its start."""
        after = self._read()
        return Usage(
            seconds=time.monotonic() - self._began,
            cores=psutil.cpu_count(),
            of={name: max(used - self._before[name], 0.0) for name, used in after.items()},
            machine=_machine() - self._machine,
        )

    def _read(self) -> dict[str, float]:
        pids = {name: self._stack.processes(name) for name in self._names}
        pids |= {name: [pid] for name, pid in self._others.items()}
        return {name: _used(found) for name, found in pids.items()}


def _used(pids: Collection[int]) -> float:
    """Return what they and all their descendants have used, in seconds; PostgreSQL has one for each connection."""
    # A parent is charged with a child once that has ended. Parents come first: whoever ends between the two readings is
    # missed, and all is read again.
    while True:
        try:
            roots = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
            family = {each.pid: each for root in roots for each in (root, *root.children(recursive=True))}
            times = [each.cpu_times() for each in family.values()]
        except psutil.NoSuchProcess:
            continue
        return float(sum(each.user + each.system + each.children_user + each.children_system for each in times))


def _machine() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
