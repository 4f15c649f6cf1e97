"""What each server of a stack used of the processors, and how busy everything else on the machine was meanwhile."""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
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
        return {name: sum(map(_used, _family(found))) for name, found in pids.items()}


def _family(pids: Collection[int]) -> set[int]:
    """Return them with all their descendants: PostgreSQL's are sessions of their own, one for each connection."""
    found = set(pids)
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.update(child.pid for child in psutil.Process(pid).children(recursive=True))
    return found


def _used(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # A parent is charged with its children once they have ended: PostgreSQL's connections, Dagster's run workers.
    return float(times.user + times.system + times.children_user + times.children_system)


def _machine() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
