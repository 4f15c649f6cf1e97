"""The sensor's place in the log: for each topic its id and the next offset of each partition.

The topic id makes a recreated topic visible: offsets of another id say nothing about this one.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class TopicPosition(BaseModel):
    """Where reading goes on in one incarnation of a topic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic_id: str
    next_offsets: dict[int, int] = Field(default_factory=dict)
    """Partition → the first offset not yet handled."""


class Cursor(BaseModel):
    """What Dagster stores for the sensor between ticks, as JSON text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: dict[str, TopicPosition] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read the stored text; nothing stored means nothing read. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text) if text else cls()

    def encode(self) -> str:
        """Return the text that Dagster stores."""
        return self.model_dump_json()
