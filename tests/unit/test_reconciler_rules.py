"""The reconciler's decisions as tables: they rest on the cursor and on runs, never on the time that has passed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.intake import LogPosition
from contracts.reasons import ReasonCode
from contracts.reports import MAX_RUN_SECONDS
from contracts.states import ACTIVE, State
from contracts.views import RunStatus
from control.rules.reconciling import (
    NOTICED_WITHIN_SECONDS,
    Cursors,
    FoundRuns,
    Passed,
    Step,
    Subject,
    decide,
    died_reason,
    lost_reason,
    resend_delay,
)
from resources.dagster.runs import OVER, RunState

T0 = datetime(2025, 1, 1, tzinfo=UTC)
BEFORE, AFTER = T0 - timedelta(seconds=1), T0 + timedelta(seconds=1)


def cursor(*parts: tuple[str, int, int, datetime]) -> Cursors:
    return Cursors([Passed(partition, topic, offset, seen) for topic, partition, offset, seen in parts])


def at(offset: int, topic: str = "now", partition: int = 0) -> LogPosition:
    return LogPosition(topic_id=topic, partition=partition, offset=offset)


def run(status: str) -> RunStatus:
    return RunStatus(run_id="r1", status=status, started_at=None, ended_at=T0, url="http://ui/runs/r1")


def subject(state: State, **known: object) -> Subject:
    values = {"is_ending": False, "is_overdue": False, "released": None, "launched": None, **known}
    return Subject(state=state, **values)  # type: ignore[arg-type]  # a table of cases, not an interface


@pytest.mark.parametrize(
    ("place", "cursors", "is_passed"),
    [
        (at(4), cursor(("now", 0, 5, AFTER)), True),
        (at(5), cursor(("now", 0, 5, AFTER)), False),
        (at(6), cursor(("now", 0, 5, AFTER)), False),
        # The time does not matter within one incarnation of the topic.
        (at(4), cursor(("now", 0, 5, BEFORE)), True),
        # Nothing is known of this partition, or of anything.
        (at(4), cursor(("now", 1, 9, AFTER)), False),
        (at(4), cursor(), False),
        # The topic was recreated, and the sensor has told so since.
        (at(4, "old"), cursor(("now", 0, 0, AFTER)), True),
        (at(4, "old"), cursor(("now", 1, 0, AFTER)), True),
        # The sensor has not called since: it may not know the new topic yet.
        (at(4, "new"), cursor(("now", 0, 9, BEFORE)), False),
        (at(4, "new"), cursor(("now", 0, 9, T0)), False),
        # A partition that the recreated topic no longer has keeps its old row.
        (at(4, "old", 1), cursor(("now", 0, 0, AFTER), ("old", 1, 5, BEFORE)), True),
        (at(5, "old", 1), cursor(("now", 0, 0, AFTER), ("old", 1, 5, BEFORE)), True),
        (at(0, "now", 0), cursor(("now", 0, 0, AFTER), ("old", 1, 5, BEFORE)), False),
    ],
)
def test_a_place_is_passed_by_fact_only(place: LogPosition, cursors: Cursors, *, is_passed: bool) -> None:
    assert cursors.passed(place, T0) is is_passed


PASSED, AHEAD = (at(4), T0), (at(7), T0)
CURSOR = cursor(("now", 0, 5, AFTER))
DEAD = [run(status) for status in OVER]
ALIVE = [run(status) for status in RunState if status not in OVER and status != RunState.NOT_STARTED]


@pytest.mark.parametrize(
    ("known", "runs_known", "found", "step"),
    [
        (subject(State.ACCEPTED), True, None, Step.NOTHING),
        (subject(State.ACCEPTED, released=AHEAD), True, None, Step.NOTHING),
        (subject(State.ACCEPTED, released=PASSED), True, None, Step.RESEND),
        (subject(State.ACCEPTED, released=PASSED), False, None, Step.RESEND),
        (subject(State.QUEUED, released=PASSED, launched=AHEAD), True, None, Step.NOTHING),
        (subject(State.QUEUED, released=PASSED, launched=PASSED), True, None, Step.LOST),
        (subject(State.QUEUED, released=PASSED, launched=PASSED), True, run("NOT_STARTED"), Step.LOST),
        (subject(State.QUEUED, launched=AHEAD), True, run("NOT_STARTED"), Step.NOTHING),
        (subject(State.RUNNING, launched=PASSED), True, None, Step.LOST),
        (subject(State.QUEUED, launched=PASSED), False, None, Step.NOTHING),
        (subject(State.QUEUED, launched=None), True, None, Step.NOTHING),
        *((subject(State.QUEUED, launched=AHEAD), True, dead, Step.DIED) for dead in DEAD),
        *((subject(State.RUNNING, launched=PASSED), True, dead, Step.DIED) for dead in DEAD),
        *((subject(State.RUNNING, launched=PASSED), True, alive, Step.NOTHING) for alive in ALIVE),
        *((subject(State.QUEUED, launched=PASSED), True, alive, Step.NOTHING) for alive in ALIVE),
        # A status that a later Dagster may invent says nothing.
        (subject(State.RUNNING, launched=PASSED), True, run("NEW_WORD"), Step.NOTHING),
        *((subject(state, is_overdue=True, released=PASSED), True, None, Step.EXPIRE) for state in ACTIVE),
        *((subject(state, is_overdue=True, launched=PASSED), False, None, Step.EXPIRE) for state in ACTIVE),
        *((subject(state, is_ending=True, is_overdue=True), True, DEAD[0], Step.FINISH) for state in ACTIVE),
    ],
)
def test_what_is_done_about_one_process(
    known: Subject, found: RunStatus | None, step: Step, *, runs_known: bool
) -> None:
    assert decide(known, CURSOR, found, runs_known=runs_known) is step


@given(
    st.sampled_from([State.QUEUED, State.RUNNING]),
    st.sampled_from([None, *RunState]),
    st.integers(0, 10),
    st.timedeltas(timedelta(0), timedelta(days=3650)),
)
def test_without_runs_no_attempt_is_given_up_however_old(
    state: State, status: RunState | None, offset: int, age: timedelta
) -> None:
    known = subject(state, released=(at(offset), T0 - age), launched=(at(offset), T0 - age))
    found = run(status) if status else None
    assert decide(known, CURSOR, found, runs_known=False) is Step.NOTHING


@given(st.integers(5, 1000), st.timedeltas(timedelta(0), timedelta(days=3650)))
def test_a_record_that_the_cursor_has_not_reached_is_never_lost_however_old(offset: int, age: timedelta) -> None:
    known = subject(State.ACCEPTED, released=(at(offset), T0 - age))
    assert decide(known, CURSOR, None, runs_known=True) is Step.NOTHING


LAUNCH = UUID(int=1)
GATED, NEWER = run("STARTED"), run("SUCCESS").model_copy(update={"run_id": "r2"})


@pytest.mark.parametrize(
    ("launch_id", "run_id", "judged"),
    [
        (None, None, None),
        (LAUNCH, None, NEWER),
        (UUID(int=2), None, None),
        # The run that passed the gate decides, and nobody stands in for it once Dagster has forgotten it.
        (LAUNCH, "r1", GATED),
        (LAUNCH, "r2", NEWER),
        (LAUNCH, "forgotten", None),
    ],
)
def test_an_attempt_is_judged_by_the_run_that_passed_the_gate(
    launch_id: UUID | None, run_id: str | None, judged: RunStatus | None
) -> None:
    assert FoundRuns({LAUNCH: NEWER}, {"r1": GATED, "r2": NEWER}).of(launch_id, run_id) is judged


def test_a_lost_record_is_asked_for_with_growing_patience() -> None:
    delays = [resend_delay(earlier) for earlier in range(20)]
    assert delays[0] == timedelta(0)
    assert all(first <= second for first, second in pairwise(delays))
    assert delays[-1] == timedelta(minutes=10)


def test_the_reasons_are_retriable_and_say_where_to_look() -> None:
    died = died_reason(run("FAILURE"))
    assert (died.code, died.is_retriable) == (ReasonCode.RUN_DIED, True)
    assert "r1" in died.message
    assert "FAILURE" in died.message
    assert "http://ui/runs/r1" in died.message
    assert (lost_reason().code, lost_reason().is_retriable) == (ReasonCode.RUN_LOST, True)


@pytest.mark.parametrize(
    ("worked_for", "code"),
    [
        (MAX_RUN_SECONDS - 1, ReasonCode.RUN_DIED),
        (MAX_RUN_SECONDS, ReasonCode.RUN_TIMED_OUT),
        (
            MAX_RUN_SECONDS + NOTICED_WITHIN_SECONDS,
            ReasonCode.RUN_DIED,
        ),  # noted as its end when the stack was started again
    ],
)
def test_a_run_that_had_no_time_left_is_told_as_such(worked_for: int, code: ReasonCode) -> None:
    lasted = run("FAILURE").model_copy(update={"started_at": T0 - timedelta(seconds=worked_for)})
    assert (died_reason(lasted).code, died_reason(lasted).is_retriable) == (code, True)
