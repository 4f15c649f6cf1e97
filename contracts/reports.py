"""What a run asks of and tells the control plane. Every call is signed (``contracts/signing.py``).

GET  /internal/v1/launches/{launch_id}   → LaunchMembers
POST /v1/processes/callback              Report → ReportAnswer, or 409 attempt_superseded / permit_held /
                                         commit_outlives_permit / version_retired
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.identity import Digest, SafeId, SafeName, Token
from contracts.messages import InputRef, Profile
from contracts.model import Frozen
from contracts.reasons import Reason

REPORT_PATH = "/v1/processes/callback"
LAUNCH_PATH = "/internal/v1/launches"
ACTIONS_PATH = "/internal/v1/actions"

MOST_WEIGHT = 1000
"""Of an action's input: see ``ActionEntry``."""

COMMIT_DELIVERY_SECONDS = 10
"""How long a run's host goes on delivering a commit that it began to send in time; then it hangs up."""

MAX_RUN_SECONDS = 6 * 3600
"""Run monitoring ends a run after this time, whoever started it."""


class Member(Frozen):
    """One attempt that a launch computes."""

    process_id: UUID
    attempt: int
    tenant: SafeName
    action: SafeName
    entity_id: SafeId
    data_version: SafeId
    dataset: SafeName
    params: dict[str, Any]
    inputs: dict[SafeName, InputRef]
    profile: Profile


class LaunchMembers(Frozen):
    """The attempts of one launch that are still wanted."""

    launch_id: UUID
    members: list[Member]


class Event(StrEnum):
    """What happened to an attempt."""

    STARTED = "started"
    """A gate: 409 means stop."""
    COMMITTING = "committing"
    """Asks for the permit; ``token`` and ``commit_expires_at`` are required. 409 means do not commit."""
    SUCCEEDED = "succeeded"
    """A hint from any attempt: the control plane reads the commit."""
    WAITING = "waiting"
    """The run was launched and its pod does not start; ``reason``, which is required, says why. It may still start."""
    FAILED = "failed"
    """Counts from the current attempt only; ``reason`` is required."""
    PUBLISHED = "published"
    """An operator's run, without a process, has committed ``coordinate``."""


class Report(Frozen):
    """One event of one attempt. Idempotent by (process_id, attempt, event)."""

    event: Event
    at: datetime
    run_id: str
    process_id: UUID | None = None
    attempt: int | None = None
    token: Token | None = None
    commit_expires_at: AwareDatetime | None = None
    """Until when the store accepts the presigned commit. A permit is given only if it lives as long."""
    reason: Reason | None = None
    entity_id: SafeId | None = None
    data_version: SafeId | None = None
    dataset: SafeName | None = None
    stages: dict[str, datetime] = Field(default_factory=dict)
    """Stage name (contracts.storage.Stage) → when it was reached."""
    resources: dict[str, Any] = Field(default_factory=dict)
    """With FAILED: the profile that was ``granted``, and what was used until then; a commit tells its own."""


class ReportAnswer(Frozen):
    """``accepted`` is always true here: refusals are problem documents. ``permit_until`` answers COMMITTING."""

    accepted: bool = True
    permit_until: datetime | None = None


class ActionEntry(Frozen):
    """What the control plane knows of one action."""

    name: SafeName
    dataset: SafeName
    digest: Digest
    description: str
    inputs: dict[SafeName, SafeName]
    """Input name → dataset. Landing inputs are not listed: they are files, not snapshots."""
    output_schema: str
    """Spark DDL."""
    params_schema: dict[str, Any]
    profile: str
    weight: float = Field(1.0, gt=0, le=MOST_WEIGHT)
    """How much heap the action wants for a byte of input (docs/profiles.md)."""
    registers: bool = False
    """It makes its dataset of one delivery and nothing else: ``POST /v1/snapshots`` asks for it by the dataset."""


class Catalogue(Frozen):
    """``PUT /internal/v1/actions``: all actions of a code location; what is not listed is withdrawn."""

    actions: list[ActionEntry]
    profiles: dict[SafeName, Profile]
