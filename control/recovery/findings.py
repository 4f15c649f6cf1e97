"""What a rebuild has done and what it has found."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Findings:
    """Counts of what was done; coordinates, or sentences, of what somebody should look at."""

    objects: int = 0
    """Listed so far."""
    snapshots: int = 0
    """Commits that were read and are in the index now."""
    restored: int = 0
    """Of them, those that the index did not know."""
    retired: int = 0
    """Tombstones."""
    owners: int = 0
    """Entities that have an owner again."""
    ended: int = 0
    """Processes that had not ended, and that the lake knows to be over."""
    corrupt: list[str] = field(default_factory=list)
    """Commits and tombstones that cannot be read, and why."""
    missing: list[str] = field(default_factory=list)
    """In the index, neither retired nor in the lake."""
    unfinished: list[str] = field(default_factory=list)
    """Retired, and their commit is still there: say ``lakemill snapshots retire`` again."""
    unknown_tenants: dict[str, list[str]] = field(default_factory=dict)
    """Tenants that own entities by what is published, and that the database does not know."""
    other_owners: list[str] = field(default_factory=list)
    """Entities whose owner is another tenant than the one that published there last. The owner stays."""
    unknown_processes: list[str] = field(default_factory=list)
    """Restored snapshots whose process the database does not know: whether it was called back is not known either."""

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to do anything."""
        return not (self.corrupt or self.missing or self.unfinished or self.unknown_tenants)

    @property
    def is_over(self) -> bool:
        """Whether submits may be accepted: nobody's entity could become another's."""
        return not self.unknown_tenants

    def counts(self) -> dict[str, int]:
        """Return how many of each, for the log."""
        return {name: found if isinstance(found, int) else len(found) for name, found in self.document().items()}

    def document(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
