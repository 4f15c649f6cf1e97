"""Many submissions at once: each is accepted or refused alone, and costs less than on its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.problems import ProblemError
from contracts.views import Accepted, BatchResult
from control.accepting.accept import Answer, planned, store
from control.accepting.inputs import InputCheck
from control.accepting.planning import Plan
from control.accepting.submission import Submission
from control.recovery.state import refuse_while_recovering
from control.together import together
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

CHUNK = 100
"""Submissions per transaction: it holds their coordinates until it ends."""
_PLANNED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Planned:
    place: int
    plan: Plan
    submission: Submission


async def accept_many(
    db: Database, inputs: InputCheck, settings: ControlSettings, submissions: Sequence[Submission | ProblemError]
) -> list[BatchResult]:
    """Return what became of each, in their order; what is a ProblemError already stays one.

    Raises ProblemError (recovering), and DatabaseUnavailableError: then some may have been accepted, and only a
    repetition with their Idempotency-Keys tells which.
    """
    async with db.reading() as conn:
        await refuse_while_recovering(conn)
    outcomes: dict[int, Answer | ProblemError] = {}
    waiting: list[_Planned] = []
    slots = asyncio.Semaphore(_PLANNED_AT_ONCE)

    async def plan(place: int, submission: Submission | ProblemError) -> None:
        if isinstance(submission, ProblemError):
            outcomes[place] = submission
            return
        async with slots:
            try:
                found = await planned(db, inputs, settings, submission)
            except ProblemError as refusal:
                outcomes[place] = refusal
                return
        if isinstance(found, Plan):
            waiting.append(_Planned(place, found, submission))
        else:
            outcomes[place] = found

    await together(plan(place, submission) for place, submission in enumerate(submissions))
    # By coordinates: two batches that meet would otherwise wait for each other.
    waiting.sort(key=lambda each: (each.plan.target, each.place))
    for first in range(0, len(waiting), CHUNK):
        outcomes |= await _store(db, waiting[first : first + CHUNK])
    return [_result(outcomes[place]) for place in range(len(submissions))]


async def _store(db: Database, chunk: Sequence[_Planned]) -> dict[int, Answer | ProblemError]:
    outcomes: dict[int, Answer | ProblemError] = {}
    async with db.transaction() as conn:
        for each in chunk:
            try:
                async with conn.begin_nested():
                    outcomes[each.place] = await store(conn, each.plan, each.submission)
            except ProblemError as refusal:
                outcomes[each.place] = refusal
    crash_point("A3")
    return outcomes


def _result(outcome: Answer | ProblemError) -> BatchResult:
    if isinstance(outcome, ProblemError):
        return BatchResult(status=outcome.problem.status, problem=outcome.document())
    return BatchResult(status=202, process=Accepted.model_validate(outcome.body))
