"""What the API shows of a process: the first answer to a submit, the full view, and one page of a list."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from contracts.callbacks import Artifact
from contracts.identity import SafeId, SafeName
from contracts.messages import Profile, ResourceProfile
from contracts.model import Frozen
from contracts.reasons import Reason
from contracts.reports import ActionEntry
from contracts.states import State

MAX_PAGE = 200


class Accepted(Frozen):
    """The answer to an accepted submit; the same bytes for every repetition of its Idempotency-Key."""

    process_id: UUID
    state: State
    entity_id: SafeId
    data_version: SafeId
    action: SafeName
    dataset: SafeName
    accepted_at: datetime
    deadline_at: datetime
    links: dict[str, str]


class BatchResult(Frozen):
    """What became of one submission of many: a process, or the problem document of its refusal."""

    status: int
    """As the HTTP status of a single submit."""
    process: Accepted | None = None
    problem: dict[str, Any] | None = None


class BatchAnswer(Frozen):
    """The answer to a batch, in its order."""

    results: list[BatchResult]


class TimelineEntry(Frozen):
    """One stage that a process has reached. ``seconds`` is the time since the entry before it."""

    stage: str
    attempt: int
    at: datetime
    seconds: float
    detail: dict[str, Any] = Field(default_factory=dict)


class Blocked(Frozen):
    """Why a process does not go on right now. ``position``: the tenant's own processes released before it."""

    code: str
    message: str
    position: int | None = None


class GrantedProfile(Frozen):
    """What was asked for, what was granted, and why."""

    requested: ResourceProfile | SafeName | None
    granted: Profile
    reason: str


class CallbackStatus(Frozen):
    """How the delivery of the callback stands."""

    webhook_id: UUID
    url: str
    state: str
    tries: int
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None


class ResolvedInput(Frozen):
    """Where an input is read from."""

    entity_id: str
    data_version: str
    dataset: str


class Preview(Frozen):
    """The answer to ``?dry_run=true``: what a submit of the same body would become now."""

    entity_id: str
    data_version: str
    dataset: str
    action: str
    action_digest: str
    inputs: dict[str, ResolvedInput]
    """By name: what the run would read."""
    profile: GrantedProfile
    callback_url: str | None
    """Where the callback would go; null also for our own report address."""
    deadline_at: datetime


class CallbackTry(Frozen):
    """One try to deliver a callback. ``status`` is the receiver's, ``error`` our word for what went wrong."""

    at: datetime
    number: int
    status: int | None
    error: str | None
    next_try_in_seconds: int | None


class CallbackLog(CallbackStatus):
    """One callback of a process, and every try of it."""

    next_try_at: datetime | None
    """Null once it was delivered or given up."""
    log: list[CallbackTry]


class Callbacks(Frozen):
    """The callbacks of one process: its requester's, and those of others who asked for the same."""

    callbacks: list[CallbackLog]


class ActionCatalogue(Frozen):
    """What can be asked for, and the profiles that can be named."""

    actions: list[ActionEntry]
    profiles: dict[SafeName, Profile]


class RunStatus(Frozen):
    """What Dagster's storage says of the process's run."""

    run_id: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    url: str


class RunUnavailable(Frozen):
    """Dagster's storage could not be read; the process itself is not affected."""

    status: str = "unavailable"


class ProcessSummary(Frozen):
    """One process in a list."""

    process_id: UUID
    entity_id: str
    data_version: str
    action: str
    dataset: str
    state: State
    reason: Reason | None
    attempt: int
    priority: int
    accepted_at: datetime
    finished_at: datetime | None


class ProcessView(ProcessSummary):
    """Everything about one process."""

    deadline_at: datetime
    retry_of: UUID | None
    """The ended process that this one repeats."""
    profile: GrantedProfile
    blocked_by: Blocked | None
    launch_id: UUID | None
    run: RunStatus | RunUnavailable | None
    snapshot: Artifact | None
    metrics: dict[str, Any]
    """Rows, bytes, files, checks and resources of the snapshot, as its commit tells them."""
    callback: CallbackStatus | None
    timeline: list[TimelineEntry]


class SnapshotView(Frozen):
    """One published snapshot."""

    entity_id: str
    data_version: str
    dataset: str
    artifact: Artifact
    process_id: UUID | None
    """The caller's process that published it; null for an operator's run, and for another tenant's."""
    retired_at: datetime | None
    """When it was retired for ever; null while it can be used."""


class SnapshotPage(Frozen):
    """One page, in the order of the coordinates. ``next_cursor`` is null on the last one."""

    snapshots: list[SnapshotView]
    next_cursor: str | None


class ProcessPage(Frozen):
    """One page, newest first. ``next_cursor`` is null on the last one."""

    processes: list[ProcessSummary]
    next_cursor: str | None
