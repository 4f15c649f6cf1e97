"""The program's own decisions, each replaceable by a broken one: a model that cannot fail proves nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from contracts.callbacks import webhook_id
from contracts.intake import LogPosition
from contracts.messages import ReleaseRecord
from contracts.reasons import Reason
from contracts.reports import ActionEntry, Report
from contracts.states import State
from control.callbacks import schedule
from control.releasing.release import acknowledged
from control.rules import endings, gates, launching, reconciling
from control.snapshots import FoundCommit
from control.transitions import allowed_before
from resources.callbacks.sender import Outcome
from resources.settings import ControlSettings
from sensors.process_requests import ProcessRequests, Tick

Row = Mapping[str, Any]


def _look(settle: Callable[[], bool]) -> bool:
    return settle()


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is decided, in the order of a process's life."""

    acknowledged: Callable[[Sequence[Any], Sequence[LogPosition | None]], Sequence[tuple[Any, LogPosition | None]]] = (
        acknowledged
    )
    tick: Callable[[ProcessRequests, str | None], Tick] = ProcessRequests.tick
    judge: Callable[[Row, ReleaseRecord, Mapping[str, str], ActionEntry | None], launching.Judgement] = launching.judge
    must_start: Callable[[Row, Report], bool] = gates.must_start
    wanted: Callable[[Any, UUID, int], Any] = gates.wanted
    permit: Callable[[Row, Report, datetime, ControlSettings], gates.Permit] = gates.permit
    by_commit: Callable[[Row, FoundCommit], endings.End] = endings.by_commit
    next_delay: Callable[[int, Reason, int], timedelta | None] = endings.next_delay
    is_due: Callable[[Row | None, datetime, ControlSettings], bool] = endings.is_due
    last_look: Callable[[Callable[[], bool]], bool] = _look
    """How ``finish_pending`` looks for a commit once no permit is live."""
    allowed_before: Callable[[State], frozenset[State]] = allowed_before
    reconcile: Callable[..., reconciling.Step] = reconciling.decide
    """``(subject, cursors, run, *, runs_known)``"""
    webhook_id: Callable[[UUID, State, str], UUID] = webhook_id
    after_try: Callable[[int, Outcome, float], schedule.CallbackVerdict] = schedule.judge
