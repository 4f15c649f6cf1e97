"""What becomes of a readable record: launch, duplicate, deferred, or dead."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from contracts.intake import Verdict
from contracts.messages import ReleaseRecord
from contracts.reports import ActionEntry
from contracts.states import State
from control.rules.dead import DeadCode, DeadRecordError
from control.schema import Row

_LAUNCHABLE = frozenset({State.ACCEPTED, State.QUEUED})


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict; ``reason`` explains every one that is no launch."""

    verdict: Verdict
    reason: str | None = None


def known(row: Row | None, released: ReleaseRecord) -> Row:
    """Return the row of the process that the record names. Raises DeadRecordError: unknown_process, hash_mismatch."""
    if row is None or row["tenant_id"] != released.tenant:
        raise DeadRecordError(DeadCode.UNKNOWN_PROCESS, "no such process of this tenant")
    if row["request_hash"] != released.request_hash_:
        raise DeadRecordError(DeadCode.HASH_MISMATCH, "the record is not what was accepted")
    return row


def judge(row: Row, released: ReleaseRecord, offered: Mapping[str, str], published: ActionEntry | None) -> Judgement:
    """Say what becomes of the record ``released`` of the process ``row``.

    ``offered``: action → digest of the code that can be launched. ``published``, what the catalogue has for the action,
    is needed only when other code than the accepted one is offered (``is_replaced``).
    """
    if not_wanted := why_not_wanted(row, released, _LAUNCHABLE):
        return Judgement(Verdict.DUPLICATE, not_wanted)
    if not _is_deployed(row, offered, published):
        return Judgement(Verdict.DEFERRED, "action_not_deployed")
    return Judgement(Verdict.LAUNCH)


def why_not_wanted(row: Row, released: ReleaseRecord, states: Collection[State]) -> str | None:
    """Return why the record's attempt of the process ``row`` is not to be done; None while it is, in these states."""
    if released.attempt != row["attempt"]:
        return f"attempt {row['attempt']} is current"
    if State(row["state"]) not in states or row["ending"] is not None:
        return f"the process is {row['state']}"
    return None


def is_replaced(row: Row, offered: Mapping[str, str]) -> bool:
    """Whether the code location offers other code than the process was accepted for, and the process is not pinned."""
    digest = offered.get(row["action"])
    is_pinned = row["request"]["action_digest"] is not None
    return not is_pinned and digest is not None and digest != row["action_digest"]


def _is_deployed(row: Row, offered: Mapping[str, str], published: ActionEntry | None) -> bool:
    """Whether the code location has the code that the process was accepted for or, unless pinned, what replaced it."""
    digest = offered.get(row["action"])
    if not is_replaced(row, offered):
        return digest is not None and digest == row["action_digest"]
    return published is not None and published.digest == digest and published.dataset == row["dataset"]
