"""How a process ends: what a commit means for it, what follows a failed attempt, and when an end may be written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts.reasons import Reason, ReasonCode
from contracts.states import State
from control.rules.commit_time import delivery_grace
from control.schema import Row
from control.snapshots import FoundCommit
from resources.settings import ControlSettings

BACKOFF_SECONDS = (5, 30, 180, 600)
"""After the first failed attempt, the second, …; the last one repeats."""
OUTAGE_BACKOFF_SECONDS = (60, 300, 600)
"""The same when the cluster could not be asked: its outage holds all processes up alike, and is waited out."""


@dataclass(frozen=True, slots=True)
class End:
    """A terminal state, what the event says of it, and the columns that are set with it."""

    state: State
    detail: Mapping[str, Any]
    columns: Mapping[str, Any]


def by_commit(row: Row, found: FoundCommit) -> End:
    """Return how the process ``row`` ends by what is committed at its coordinate.

    Our own commit, of whichever attempt, makes it succeeded; anyone else's makes it failed, because that coordinate is
    taken for ever.
    """
    origin = found.commit.provenance
    if origin.process_id == row["id"]:
        told = origin.model_dump(mode="json", include={"token", "attempt", "run_id", "checks", "resources", "stages"})
        detail = {**told, "committed_at": found.artifact.committed_at.isoformat()}
        return End(State.SUCCEEDED, detail, {"artifact": found.artifact.model_dump(mode="json"), "reason": None})
    message = f"{found.artifact.path} was published at {found.artifact.committed_at.isoformat()} by somebody else"
    reason = Reason(code=ReasonCode.VERSION_ALREADY_PUBLISHED, message=message).model_dump(mode="json")
    detail = {"reason": reason, "commit_digest": found.artifact.commit_digest}
    return End(State.FAILED, detail, {"reason": reason})


def by_decision(row: Row) -> End:
    """Return the end that was decided for the process ``row`` and is due now."""
    ending = row["ending"]
    return End(State(ending["state"]), {"reason": ending["reason"]}, {"reason": ending["reason"]})


def next_delay(attempt: int, reason: Reason, max_attempts: int) -> timedelta | None:
    """Return how long after the failure of ``attempt`` the next one may be released; None when there is none."""
    return backoff(attempt, reason) if reason.is_retriable and attempt < max_attempts else None


def backoff(attempt: int, reason: Reason) -> timedelta:
    """Return how long after the failure of ``attempt`` (1, 2, …) the next one may be released."""
    steps = OUTAGE_BACKOFF_SECONDS if reason.code is ReasonCode.CLUSTER_UNAVAILABLE else BACKOFF_SECONDS
    return timedelta(seconds=steps[min(attempt, len(steps)) - 1])


def decided_end(row: Row) -> State | None:
    """Return how the process ``row`` has ended, or will unless a commit appears; None while that is open."""
    state = State(row["state"])
    if state.is_terminal:
        return state
    return None if row["ending"] is None else State(row["ending"]["state"])


def is_open(row: Row | None) -> bool:
    """Whether it is still to be decided how the process ends."""
    return row is not None and decided_end(row) is None


def is_due(row: Row | None, now: datetime, settings: ControlSettings) -> bool:
    """Whether a decided end may be written: the last permit is dead, and what was sent in time has arrived."""
    if row is None or State(row["state"]).is_terminal or row["ending"] is None:
        return False
    return row["permit_until"] is None or row["permit_until"] + delivery_grace(settings) < now
