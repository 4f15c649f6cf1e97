"""What the reconciler does about one process: decisions only. They rest on facts, never on how long something took.

A place in the log is *passed* when the cursor that Dagster has stored lies behind it, or when Dagster has moved on to
another incarnation of the topic since. Then the sensor has surely handled whatever it was going to handle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from contracts.intake import LogPosition
from contracts.reasons import Reason, ReasonCode
from contracts.reports import MAX_RUN_SECONDS
from contracts.states import State
from contracts.views import RunStatus
from control.schema import Row
from resources.dagster.runs import OVER, RunState

RESEND_SECONDS = (0, 30, 60, 120, 300, 600)
"""Before the first repetition of a lost record, the second, …; the last one repeats. What is deferred because its
action is not deployed yet is asked for again with the same patience, but never at once."""
NOTICED_WITHIN_SECONDS = 300
"""How soon run monitoring ends a run whose time is over. A run that ends later, as after a stop of the whole stack, was
only found dead then, and had not worked for so long."""


class Step(StrEnum):
    """What to do."""

    NOTHING = "nothing"
    FINISH = "finish"
    """An end is decided: carry it out if no permit is live."""
    EXPIRE = "expire"
    RESEND = "resend"
    """The record is lost: into the outbox again, the same attempt."""
    LOST = "lost"
    """The launch never became a run: the attempt is over."""
    DIED = "died"
    """The run is over and nothing is committed: the attempt is over."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The persisted cursor in one partition, and when the sensor last told it."""

    partition: int
    topic_id: str
    next_offset: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Cursors:
    """The persisted cursor of the relay's topic."""

    partitions: Sequence[Passed]

    def passed(self, place: LogPosition, since: datetime) -> bool:
        """Whether ``place``, known since ``since``, is surely behind the sensor."""
        if any(
            place.topic_id == known.topic_id and place.partition == known.partition and place.offset < known.next_offset
            for known in self.partitions
        ):
            return True
        newest = max(self.partitions, key=lambda known: known.seen_at, default=None)
        return newest is not None and newest.topic_id != place.topic_id and newest.seen_at > since


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """What Dagster knows of the runs that matter."""

    of_launches: Mapping[UUID, RunStatus]
    by_id: Mapping[str, RunStatus]

    def of(self, launch_id: UUID | None, run_id: str | None) -> RunStatus | None:
        """Return the run by which an attempt is judged: the one that passed the gate, else the launch's.

        Another run with the launch's tags, which the gate has stopped, says nothing of the one that computes.
        """
        if run_id is not None:
            return self.by_id.get(run_id)
        return None if launch_id is None else self.of_launches.get(launch_id)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of one process that has not ended."""

    state: State
    is_ending: bool
    is_overdue: bool
    released: tuple[LogPosition, datetime] | None
    """Where the current attempt's record lies, and when that was noted."""
    launched: tuple[LogPosition, datetime] | None
    """Where the record of the current attempt's launch lies, and when it was decided."""


def needs_lake(row: Row) -> bool:
    """Whether a commit of the process may exist, or its end is near; it is looked for before anything is decided."""
    # Any attempt before this one may have committed late; a first attempt that was never launched has not, but its end
    # needs a last look, and is not even begun while nobody can look.
    late = row["state"] != State.ACCEPTED or row["attempt"] > 1 or row["is_overdue"] or row["ending"] is not None
    return bool(late)


def subject_of(row: Row) -> Subject:
    """Return what is known of the process ``row``, which has its current launch's columns beside its own."""
    released = launched = None
    if row["released_at"] is not None and row["topic_id"] is not None:
        place = LogPosition(topic_id=row["topic_id"], partition=row["log_partition"], offset=row["log_offset"])
        released = (place, row["released_at"])
    if row["launch_topic_id"] is not None:
        place = LogPosition(
            topic_id=row["launch_topic_id"], partition=row["launch_partition"], offset=row["launch_offset"]
        )
        launched = (place, row["launched_at"])
    return Subject(
        state=State(row["state"]),
        is_ending=row["ending"] is not None,
        is_overdue=row["is_overdue"],
        released=released,
        launched=launched,
    )


def has_moved_on(row: Row, seen: Row) -> bool:
    """Whether anything has happened to the attempt ``row`` since it was ``seen``."""
    return any(row[name] != seen[name] for name in ("state", "attempt", "released_at", "ending"))


def decide(subject: Subject, cursors: Cursors, run: RunStatus | None, *, runs_known: bool) -> Step:
    """Say what to do. ``run`` is the attempt's (FoundRuns.of); without ``runs_known`` nothing is concluded from runs.

    The caller has looked for a commit of queued and running processes after ``cursors`` and ``run`` were read.
    """
    if subject.is_ending:
        return Step.FINISH
    if subject.is_overdue:
        return Step.EXPIRE
    if subject.state is State.ACCEPTED:
        is_lost = subject.released is not None and cursors.passed(*subject.released)
        return Step.RESEND if is_lost else Step.NOTHING
    if not runs_known or subject.launched is None:
        return Step.NOTHING
    if run is None or run.status == RunState.NOT_STARTED:
        return Step.LOST if cursors.passed(*subject.launched) else Step.NOTHING
    return Step.DIED if run.status in OVER else Step.NOTHING


def resend_delay(earlier: int) -> timedelta:
    """Return how long a record that was resent ``earlier`` times before waits in the outbox."""
    return timedelta(seconds=RESEND_SECONDS[min(earlier, len(RESEND_SECONDS) - 1)])


def lost_reason() -> Reason:
    """Return the reason of an attempt whose launch never became a run."""
    return Reason(
        code=ReasonCode.RUN_LOST,
        message="Dagster has stored a cursor behind this attempt's record, and no run was started for its launch",
    )


def died_reason(run: RunStatus) -> Reason:
    """Return the reason of an attempt whose run is over, without a commit and without a report."""
    when = f" at {run.ended_at.isoformat(timespec='seconds')}" if run.ended_at else ""
    message = f"Dagster's run {run.run_id} ended as {run.status}{when} without a commit or a report; see {run.url}"
    lasted = (run.ended_at - run.started_at).total_seconds() if run.started_at and run.ended_at else 0.0
    if 0 <= lasted - MAX_RUN_SECONDS < NOTICED_WITHIN_SECONDS:
        return Reason(code=ReasonCode.RUN_TIMED_OUT, message=f"{message}. Its time, {MAX_RUN_SECONDS} s, was over")
    return Reason(code=ReasonCode.RUN_DIED, message=message)


def deadline_reason(deadline_at: datetime) -> Reason:
    """Return the reason of a process that ran out of time."""
    message = f"the deadline passed at {deadline_at.isoformat(timespec='seconds')}"
    return Reason(code=ReasonCode.DEADLINE_PASSED, message=message)
