"""The tombstone: one object in the lake that says for ever that a coordinate was retired, and what had lain there.

It is there before the commit goes, and it never goes itself: whoever would write at that coordinate finds it, and after
a database restore it tells what the restored database may not know.
"""

from typing import Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, ValidationError

from contracts.callbacks import Artifact
from contracts.identity import Coordinate, SafeId, SafeName, Token
from contracts.model import Frozen
from contracts.reading import sentences
from contracts.storage import CorruptSnapshotError


class Tombstone(Frozen):
    """A whole tombstone. ``encode`` and ``parse`` are inverse."""

    contract_version: Literal[1] = 1
    """The storage contract's."""
    entity_id: SafeId
    data_version: SafeId
    dataset: SafeName
    retired_at: AwareDatetime
    retired_by: str
    token: Token
    """The folder that the commit named."""
    tenant: str | None
    process_id: UUID | None
    """Who had published it; both null for an operator's run."""
    artifact: Artifact
    """What was published, as it was told of."""

    @property
    def coordinate(self) -> Coordinate:
        """What was retired."""
        return Coordinate(self.entity_id, self.data_version, self.dataset)

    def encode(self) -> bytes:
        """Return the object's bytes: one JSON document."""
        return self.model_dump_json().encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes, coordinate: Coordinate) -> Self:
        """Read a tombstone back. Raises CorruptSnapshotError when it is not ours, not whole, or another's."""
        try:
            found = cls.model_validate_json(data)
        except ValidationError as error:
            told = "; ".join(sentences(error))
            raise CorruptSnapshotError(f"{coordinate}: the tombstone cannot be read: {told[:400]}") from error
        if found.coordinate != coordinate:
            raise CorruptSnapshotError(f"{coordinate}: the tombstone is of {found.coordinate}")
        return found
