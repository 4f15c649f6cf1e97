"""What happened, in order, as far as anybody outside could see it: what the checker reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.intake import LogPosition, Verdict
from contracts.states import State


@dataclass(frozen=True, slots=True)
class Answered:
    """A requester got a 202, with this body."""

    tenant: str
    key: str | None
    process_id: UUID
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """A process was stored."""

    process_id: UUID
    tenant: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A process's state was stored."""

    process_id: UUID
    state: State


@dataclass(frozen=True, slots=True)
class Stored:
    """The store created a commit."""

    key: str
    body: bytes
    process_id: UUID | None
    token: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Intake's answer about one record was stored."""

    position: LogPosition
    verdict: Verdict
    process_id: UUID | None = None
    attempt: int | None = None
    launch_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """The control plane noted that the log had dropped the offsets [expected, found) unread."""

    topic_id: str
    partition: int
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Begun:
    """Dagster made a run of a launch."""

    launch_id: UUID
    run_id: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Dagster stored the sensor's cursor: of this topic, partition → next offset."""

    topic_id: str
    next_offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Picked:
    """A worker chose what to release, in this order, with ``room`` places left."""

    chosen: Sequence[UUID]
    waiting: Mapping[UUID, str]
    """Process → tenant, of everything that might have been chosen."""
    in_flight: Mapping[str, int]
    room: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A receiver was sent a callback; ``signature`` is the header as it came."""

    url: str
    webhook_id: str
    timestamp: str
    signature: str
    body: bytes
    status: int | None


@dataclass(frozen=True, slots=True)
class Restored:
    """The control plane's database was put back to an earlier state: what came after the backup is forgotten."""

    states: Mapping[UUID, State]
    keys: Mapping[tuple[str, str], UUID]


Event = Answered | Made | Moved | Stored | Judged | Missed | Begun | Kept | Picked | Heard | Restored
