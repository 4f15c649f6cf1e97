"""gc against random crashes, sleeping runs and slow commits: no file goes of a commit, or of what may still commit.

The decisions are the real ones (what is garbage, when a process may end); time, the store and the runs are a model.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import SecretStr

from contracts.identity import Coordinate
from contracts.reports import COMMIT_DELIVERY_SECONDS, MAX_RUN_SECONDS
from contracts.states import State
from control.rules.endings import is_due, is_open
from control.rules.garbage import Committed, Folder, Kept, commit_wait, why_kept
from resources.settings import ControlSettings

SETTINGS = ControlSettings(
    database_url=SecretStr("postgresql+asyncpg://nobody@nowhere/none"),
    internal_secret=SecretStr("internal-secret-of-the-tests"),
)
HERE = Coordinate("cust_8842", "v1", "revenue")
BEGIN = datetime(2024, 10, 5, tzinfo=UTC)
PERMIT, DELIVERY = timedelta(seconds=SETTINGS.permit_seconds), timedelta(seconds=COMMIT_DELIVERY_SECONDS)
MAX_RUNS = 3
A_RUN = timedelta(seconds=MAX_RUN_SECONDS)


@dataclass
class Run:
    """One execution; ``process`` is None for an operator's. Each step may be followed by death or any sleep."""

    token: str
    process: int | None
    started: datetime
    is_alive: bool = True
    is_whole: bool = False
    signed_until: datetime | None = None
    is_checked: bool = False
    begun: datetime | None = None
    files: set[str] = field(default_factory=set)


class World(RuleBasedStateMachine):
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.stored: dict[str, dict[str, datetime]] = {}
        self.commit: Run | None = None
        self.rows: dict[int, dict[str, Any]] = {}
        self.all_runs: list[Run] = []
        self.marked: list[str] = []
        self.marked_at = BEGIN

    def start(self, process: int | None) -> Run:
        run = Run(f"{len(self.all_runs)}", process, self.now)
        self.all_runs.append(run)
        self.stored[run.token] = {}
        return run

    @initialize(target=runs, is_operators=st.booleans(), steps=st.integers(0, 3))
    def one_has_slept_since_it_wrote_everything(self, is_operators: bool, steps: int) -> Run:
        """Where it becomes dangerous; chance alone comes here seldom. With three steps its commit is on its way."""
        run = self.a_run_of(is_operators)
        self.write(run, is_last=True)
        self.now += 2 * A_RUN
        self.go_on(run, steps)
        return run

    @precondition(lambda self: len(self.all_runs) < MAX_RUNS)
    @rule(target=runs, is_operators=st.booleans())
    def a_run_starts(self, is_operators: bool) -> Run:
        return self.a_run_of(is_operators)

    def a_run_of(self, is_operators: bool) -> Run:
        if is_operators:
            return self.start(None)
        active = [number for number, row in self.rows.items() if is_open(row)]
        number = active[0] if active else len(self.rows)
        self.rows.setdefault(number, {"state": "running", "ending": None, "permit_until": None})
        return self.start(number)

    @rule(run=runs, steps=st.integers(1, 5), is_whole=st.booleans())
    def it_goes_on(self, run: Run, steps: int, is_whole: bool) -> None:
        """One step of its life after another; between two calls anything may happen, for any time."""
        self.go_on(run, steps, is_whole=is_whole)

    def go_on(self, run: Run, steps: int, *, is_whole: bool = True) -> None:
        for _ in range(steps):
            if run.begun:
                self.arrive(run)  # even after its host has died
            elif not run.is_alive:
                return
            elif not run.is_whole:
                self.write(run, is_last=is_whole)
            elif not run.signed_until:
                self.sign(run)
            elif not run.is_checked:
                run.is_checked = run.is_alive = "_SUCCESS" in self.stored[run.token]
            elif self.now <= run.signed_until:
                run.begun = self.now

    def write(self, run: Run, *, is_last: bool) -> None:
        # Run monitoring and the Job's deadline have ended whatever writes for longer than a run may live.
        if self.now < run.started + A_RUN:
            name = f"part-{len(run.files)}"
            run.files.add(name)
            self.stored[run.token][name] = self.now
            if is_last:
                self.stored[run.token]["_SUCCESS"] = self.now
                run.is_whole = True

    def sign(self, run: Run) -> None:
        row = self.rows.get(run.process) if run.process is not None else None
        if row is not None:
            if not is_open(row):
                run.is_alive = False  # 409
                return
            if row["permit_until"] and self.now < row["permit_until"] + timedelta(seconds=SETTINGS.clock_skew_seconds):
                return
            row["permit_until"] = self.now + PERMIT
        run.signed_until = self.now + PERMIT

    def arrive(self, run: Run) -> None:
        if run.begun and self.now <= run.begun + DELIVERY and self.commit is None:
            self.commit = run

    @rule(run=runs)
    def it_dies(self, run: Run) -> None:
        run.is_alive = False

    @rule(seconds=st.sampled_from([9, 119, 200, 2 * MAX_RUN_SECONDS]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(cancels=st.booleans(), forgets=st.booleans())
    def the_control_plane_works(self, cancels: bool, forgets: bool) -> None:
        for number, row in self.rows.items():
            if State(row["state"]).is_terminal:
                row["is_forgotten"] = forgets
            elif self.commit is not None:
                row["state"] = "succeeded" if self.commit.process == number else "failed"
            elif is_due(row, self.now, SETTINGS):
                row["state"] = "cancelled"
            elif cancels and is_open(row):
                row["ending"] = {"state": "cancelled"}

    def verdict(self, token: str) -> Kept | None:
        folder = Folder(HERE, token, max(self.stored[token].values()))
        process = self.all_runs[int(token)].process
        row = self.rows.get(process) if process is not None else None
        known = None if row is None or row.get("is_forgotten") else row
        return why_kept(folder, Committed(self.commit.token) if self.commit else None, known, self.now, SETTINGS)

    @rule(count=st.integers(1, MAX_RUNS))
    def gc_marks(self, count: int) -> None:
        """It may be killed after any marker, and leave the rest as it was."""
        garbage = [token for token, objects in self.stored.items() if objects and self.verdict(token) is None]
        self.marked = garbage[:count]
        self.marked_at = self.now
        for token in self.marked:
            self.stored[token].pop("_SUCCESS", None)

    @precondition(lambda self: self.marked)
    @rule()
    def gc_removes(self) -> None:
        """After its pause. Each file is an object of its own: it may be killed between any two."""
        self.now = max(self.now, self.marked_at + commit_wait(SETTINGS) + timedelta(seconds=1))
        token = self.marked[0]
        if self.stored[token] and self.verdict(token) is None:
            self.stored[token].popitem()

    @invariant()
    def every_file_of_the_commit_is_there(self) -> None:
        if self.commit is not None:
            assert self.commit.files <= self.stored[self.commit.token].keys()

    @invariant()
    def every_file_of_a_live_attempt_is_there(self) -> None:
        for run in self.all_runs:
            row = self.rows.get(run.process) if run.process is not None else None
            may_go_on = is_open(row) if row else self.now < run.started + A_RUN
            if run.is_alive and may_go_on:
                assert run.files <= self.stored[run.token].keys()


TestWorld = World.TestCase
TestWorld.settings = hypothesis_settings(max_examples=300, stateful_step_count=20, deadline=None)


def test_what_nobody_will_ever_commit_is_garbage_and_everything_else_has_a_reason() -> None:
    folder = Folder(HERE, "token", BEGIN)
    later = BEGIN + A_RUN + commit_wait(SETTINGS) + timedelta(seconds=1)

    def judged(committed: Committed | None = None, at: datetime = later, **row: Any) -> Kept | None:
        process = {"ending": None, "permit_until": None, **row} if row else None
        return why_kept(folder, committed, process, at, SETTINGS)

    assert judged() is None  # an operator's run, or one whose process is forgotten
    assert judged(Committed("another")) is None
    assert judged(state="failed") is None
    assert judged(state="succeeded") is None
    assert judged(at=later - timedelta(seconds=1)) is Kept.YOUNG
    assert judged(Committed("token")) is Kept.COMMITTED
    assert judged(Committed(None), state="failed") is Kept.UNREADABLE
    assert judged(Committed("another"), state="running") is Kept.LIVE
    assert judged(state="failed", permit_until=later) is Kept.LIVE
