"""The two gates of a run: it may start, and it may commit until a moment. Whoever is not wanted any more hears 409."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from contracts.problems import ProblemError
from contracts.reports import Report
from contracts.states import State
from control.schema import Row
from resources.settings import ControlSettings


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to commit ``until`` then. ``is_new`` unless the same token has it already."""

    until: datetime
    is_new: bool


def wanted(row: Row | None, process_id: UUID, attempt: int) -> Row:
    """Return the row of a process that still wants this attempt; raises ProblemError: not_found, attempt_superseded."""
    if row is None:
        raise ProblemError("not_found", f"there is no process {process_id}")
    if row["attempt"] != attempt:
        raise ProblemError("attempt_superseded", f"attempt {row['attempt']} is current")
    if State(row["state"]).is_terminal or row["ending"] is not None:
        raise ProblemError("attempt_superseded", f"the process is {row['state']} or ending")
    return row


def must_start(row: Row, report: Report) -> bool:
    """Whether the wanted attempt in ``row`` begins to run with this report; False when its run said so before.

    Raises ProblemError (attempt_superseded).
    """
    if row["state"] == State.RUNNING:
        # A second run of the same launch may only stop: the first one may be alive, and if not, a new attempt follows.
        _must_be_the_run(row, report)
        return False
    if row["state"] != State.QUEUED:
        raise ProblemError("attempt_superseded", f"the process is {row['state']}")
    return True


def permit(row: Row, report: Report, now: datetime, settings: ControlSettings) -> Permit:
    """Give the permit: one live at a time per process, never prolonged, never for a commit that would outlive it.

    Raises ProblemError: attempt_superseded, permit_held, commit_outlives_permit.
    """
    if row["state"] != State.RUNNING:
        raise ProblemError("attempt_superseded", f"the process is {row['state']}")
    _must_be_the_run(row, report)
    if row["permit_token"] == report.token:
        _refuse_a_longer_commit(report, row["permit_until"], settings)
        return Permit(row["permit_until"], is_new=False)
    _refuse_while_held(row, now, settings)
    until = now + timedelta(seconds=settings.permit_seconds)
    _refuse_a_longer_commit(report, until, settings)
    return Permit(until, is_new=True)


def counts(row: Row, report: Report) -> bool:
    """Whether a failure that was reported is that of the current attempt, by the run that computes it."""
    return row["attempt"] == report.attempt and row["run_id"] in {None, report.run_id}


def _must_be_the_run(row: Row, report: Report) -> None:
    if row["run_id"] != report.run_id:
        raise ProblemError("attempt_superseded", "another run computes this attempt")


def _refuse_while_held(row: Row, now: datetime, settings: ControlSettings) -> None:
    if row["permit_until"] is None:
        return
    over = row["permit_until"] + timedelta(seconds=settings.clock_skew_seconds)
    if now < over:
        wait = round((over - now).total_seconds(), 1)
        raise ProblemError("permit_held", f"another attempt may commit for {wait} s more", retry_after=wait)


def _refuse_a_longer_commit(report: Report, permit_until: datetime, settings: ControlSettings) -> None:
    """The store obeys the presigned time and we the permit's: a commit may not be valid when its permit is over."""
    expires_at = report.commit_expires_at
    if expires_at is None:
        raise ProblemError("commit_outlives_permit", "the report does not say until when its commit is valid")
    over = permit_until + timedelta(seconds=settings.clock_skew_seconds)
    if expires_at > over:
        said = f"the commit is valid until {expires_at.isoformat()}, its permit until {permit_until.isoformat()}"
        raise ProblemError(
            "commit_outlives_permit",
            f"{said}; is LAKEMILL_PERMIT_SECONDS one on both planes, and are the clocks in step?",
        )
