"""The sensor's place in the log: for each topic its id and the next offset of each partition.

The topic id makes a recreated topic visible: offsets of another id say nothing about this one.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from contracts.model import Frozen

TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
TopicId = Annotated[str, StringConstraints(pattern=r"^[!-.0-~]{1,64}$")]
Partition = Annotated[int, Field(ge=0, lt=2**31)]
Offset = Annotated[int, Field(ge=0, lt=2**63)]


class TopicPosition(Frozen):
    """Where reading goes on in one incarnation of a topic."""

    topic_id: TopicId
    next_offsets: dict[Partition, Offset] = Field(default_factory=dict)
    """Partition → the first offset not yet handled."""


class Cursor(Frozen):
    """What Dagster stores for the sensor between ticks, as JSON text."""

    topics: dict[TopicName, TopicPosition] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read the stored text; nothing stored means nothing read. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text) if text else cls()

    def back_at(self, topic: str, offsets: Mapping[int, int]) -> Self:
        """Return the cursor from which these records of a topic (partition → offset) are read again."""
        place = self.topics[topic]
        earlier = place.model_copy(update={"next_offsets": {**place.next_offsets, **offsets}})
        return self.model_copy(update={"topics": {**self.topics, topic: earlier}})

    def encode(self) -> str:
        """Return the text that Dagster stores."""
        return self.model_dump_json()
