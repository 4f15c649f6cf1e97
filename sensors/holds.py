"""Partitions that are left alone for a while, because what comes next in them cannot be judged now."""

from collections.abc import Collection

from resources.log import Partition


class Holds:
    """Kept in the code server between ticks; a new one has forgotten them, and only asks sooner."""

    def __init__(self) -> None:
        self._until: dict[Partition, float] = {}

    def hold(self, partitions: Collection[Partition], until: float) -> None:
        """Leave these alone until then."""
        self._until |= dict.fromkeys(partitions, until)

    def at(self, now: float) -> frozenset[Partition]:
        """Return what is left alone now, and forget what is not any more."""
        self._until = {partition: until for partition, until in self._until.items() if until > now}
        return frozenset(self._until)

    def wait(self, now: float, seconds: float) -> float:
        """Return ``seconds``, or fewer when a partition is due before."""
        return max(0.0, min([seconds, *(until - now for until in self._until.values())]))
