"""The callback: what the requester is told when their process has ended, field by field.

The bytes are signed by the Standard Webhooks specification (headers webhook-id, webhook-timestamp, webhook-signature).
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from contracts.model import Frozen
from contracts.reasons import Reason
from contracts.states import State

_CALLBACK_NAMESPACE = UUID("a2c3f4d0-8f0b-5d7e-9c55-3a7f9f0e1b42")


class Artifact(Frozen):
    """The snapshot that a succeeded process produced."""

    path: str
    """``s3://bucket/{entity_id}/{data_version}/{dataset}``: a Delta table."""
    rows: int
    bytes: int
    files: int
    commit_digest: str
    """SHA-256 (hex) of the commit."""
    committed_at: datetime


class Timings(Frozen):
    """Where the time went, in seconds, each None when it did not come to that."""

    waited: float | None
    """From accepted until the run of the last attempt began."""
    ran: float | None
    """From then until the end."""
    total: float
    """From accepted until the end."""


class CallbackData(Frozen):
    """The ``data`` of a callback."""

    process_id: UUID
    entity_id: str
    data_version: str
    action: str
    dataset: str
    state: State
    """``succeeded``, ``failed``, ``cancelled`` or ``expired``; it never changes."""
    attempt: int
    """How many runs it took, or were tried."""
    reason: Reason | None
    """Why it failed or expired: a stable code, and a sentence. Null when it succeeded or was cancelled."""
    artifact: Artifact | None
    """The snapshot, when it succeeded."""
    metrics: dict[str, Any]
    """What the run used, as its commit tells it: processor seconds, peaks of memory, cores. Empty without a commit."""
    timings: Timings
    accepted_at: datetime
    finished_at: datetime


class Callback(Frozen):
    """The whole body."""

    type: Literal["process.succeeded", "process.failed", "process.cancelled", "process.expired"]
    timestamp: datetime
    """When the process ended; the same in every delivery."""
    data: CallbackData


def webhook_id(process_id: UUID, state: State, url: str) -> UUID:
    """Return the callback's id: the same in every retry and after a database restore."""
    return uuid5(_CALLBACK_NAMESPACE, f"{process_id}\n{state.value}\n{url}")
