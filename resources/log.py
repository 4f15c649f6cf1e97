"""The log between the planes as two ports, without a client: ``kafka/client.py`` writes, ``kafka/log.py`` reads.

LakemillError
└── RecordLogError        the log cannot be read now; the same call may succeed later
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.cursor import Cursor
from contracts.intake import LogGap, LogPosition, LogRecord
from contracts.problems import LakemillError

Partition = tuple[str, int]
"""A topic's name and one of its partitions."""


class RecordLogError(LakemillError):
    """The log cannot be read. Nothing is lost: the cursor stays where it was."""

    retriable = True


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """One record to publish. Records of one key keep their order."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll found: the records, the cursor behind them, and what the log had dropped before them."""

    records: list[LogRecord]
    cursor: Cursor
    gaps: list[LogGap]


class RecordLog(Protocol):
    """Reading by a cursor that the caller keeps."""

    def poll(
        self, cursor: Cursor, *, wait_seconds: float, max_records: int, held: Collection[Partition] = ()
    ) -> Polled:
        """Return what follows ``cursor``: at once when something is there, else after ``wait_seconds``.

        ``max_records`` come from the relay's topic at most, and as many from the direct topics together. Nothing is
        read of partitions that are ``held``. Raises RecordLogError when the relay's topic cannot be read; the same
        cursor can be tried again. A direct topic that cannot be read is left out.
        """
        ...


class Relay(Protocol):
    """Writing, acknowledged record by record."""

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        """Return where each record lies, for ever; None means unknown: it may lie there or not, so send it again."""
        ...

    async def close(self) -> None:
        """Release the connection; what is still unsent stays unacknowledged."""
        ...
