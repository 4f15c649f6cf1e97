"""gc against random crashes, sleeping runs and slow commits: no file goes of a commit, or of what may still commit.

The collector is the real one, and so is the rule when a process may end; time, the store, the database's rows and the
runs are a model.
"""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.reports import COMMIT_DELIVERY_SECONDS, MAX_RUN_SECONDS
from contracts.states import State
from contracts.storage import commit_key, success_key
from control.rules.endings import is_due, is_open
from control.schema import Row
from tests.gc_ports import HERE, SETTINGS, MemoryDatabase, MemoryLake, Run, SteppedCollector, commit_of, id_of, new_row

BEGIN = datetime(2024, 10, 5, tzinfo=UTC)
PERMIT, DELIVERY = timedelta(seconds=SETTINGS.permit_seconds), timedelta(seconds=COMMIT_DELIVERY_SECONDS)
MAX_RUNS = 3
SLEEPS, STEPS = (200, 2 * MAX_RUN_SECONDS), range(4)
PAUSES = (None, *product((0, 9, 119), range(5)))
SECONDS = st.sampled_from([0, 9, 119, 200, 2 * MAX_RUN_SECONDS])
KILLED = st.sampled_from([None, None, None, 0, 1, 2, 3])
"""After how many removed objects the collector is killed, if it is."""
A_RUN = timedelta(seconds=MAX_RUN_SECONDS)


class World(RuleBasedStateMachine):
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.lake = MemoryLake(lambda: self.now)
        self.gc = SteppedCollector(self.lake, MemoryDatabase(lambda: self.now, self.known), SETTINGS)
        self.marked: set[str] = set()
        self.commit: Run | None = None
        self.rows: dict[int, dict[str, Any]] = {}
        self.all_runs: list[Run] = []
        self.may_remove_at = BEGIN

    def known(self, process_id: str) -> Row | None:
        """Return what the database knows of a process."""
        rows = [row for row in self.rows.values() if row["id"] == process_id]
        return None if not rows or rows[0]["is_forgotten"] else rows[0]

    def start(self, process: int | None) -> Run:
        number = len(self.all_runs)
        execution = id_of(process if process is not None else 1000 + number)
        run = Run(f"{execution}-1-{number:016x}", process, self.now)
        self.all_runs.append(run)
        return run

    @initialize(
        target=runs,
        is_operators=st.booleans(),
        sleeps=st.sampled_from(SLEEPS),
        steps=st.sampled_from(STEPS),
        pause=st.sampled_from(PAUSES),
    )
    def one_has_slept_since_it_wrote_everything(
        self, is_operators: bool, sleeps: int, steps: int, pause: tuple[int, int] | None
    ) -> Run:
        """Where it becomes dangerous; chance alone comes here seldom.

        With three steps its commit is on its way. ``pause``: gc takes its marker then, and it goes on in gc's pause,
        after so many seconds, by so many steps.
        """
        run = self.a_run_of(is_operators)
        self.write(run, is_last=True)
        self.now += timedelta(seconds=sleeps)
        self.go_on(run, steps)
        if pause is not None:
            self.mark(None)
            self.now += timedelta(seconds=pause[0])
            self.go_on(run, pause[1])
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
        self.rows.setdefault(number, new_row(number))
        return self.start(number)

    @rule(run=runs, after=SECONDS, steps=st.integers(1, 5), is_whole=st.booleans())
    def it_goes_on(self, run: Run, after: int, steps: int, is_whole: bool) -> None:
        """One step of its life after another; between two calls anything may happen, for any time."""
        self.now += timedelta(seconds=after)
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
                run.is_checked = run.is_alive = success_key(HERE, run.token) in self.lake.objects
            elif self.now <= run.signed_until:
                run.begun = self.now

    def write(self, run: Run, *, is_last: bool) -> None:
        # Run monitoring and the Job's deadline have ended whatever writes for longer than a run may live.
        if self.now < run.started + A_RUN:
            name = run.key(f"part-{len(run.files)}.parquet")
            run.files.add(name)
            self.lake.put(name, b"0123456789")
            if is_last:
                self.lake.put(success_key(HERE, run.token), b"{}")
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
            self.lake.put(commit_key(HERE), commit_of(HERE, run.token))

    @rule(run=runs)
    def it_dies(self, run: Run) -> None:
        run.is_alive = False

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(cancels=st.booleans(), forgets=st.booleans())
    def the_control_plane_works(self, cancels: bool, forgets: bool) -> None:
        for number, row in self.rows.items():
            if State(row["state"]).is_terminal:
                row["is_forgotten"] |= forgets
            elif self.commit is not None:
                row["state"] = "succeeded" if self.commit.process == number else "failed"
            elif is_due(row, self.now, SETTINGS):
                row["state"] = "cancelled"
            elif cancels and is_open(row):
                row["ending"] = {"state": "cancelled"}

    @precondition(lambda self: not self.gc.is_in_its_pause)
    @rule(asked=st.sampled_from([0, 0, 2 * MAX_RUN_SECONDS]), killed=KILLED)
    def gc_marks(self, asked: int, killed: int | None) -> None:
        """What it has found is as old as its question to the operator. It may be killed between two markers."""
        self.mark(killed, asked)

    def mark(self, killed: int | None, asked: int = 0) -> None:
        found = self.gc.look()
        self.now += timedelta(seconds=asked)
        self.marked, self.lake.removals_left = {each.folder.token for each in found.garbage}, killed
        self.gc.begin(found)
        self.may_remove_at = self.now + timedelta(seconds=self.gc.pause_seconds)

    @precondition(lambda self: self.gc.is_in_its_pause)
    @rule(killed=KILLED)
    def gc_removes(self, killed: int | None) -> None:
        """After its pause, in which anything may have happened. It may be killed between any two files."""
        self.now, self.lake.removals_left = max(self.now, self.may_remove_at), killed
        if self.gc.go_on():
            assert self.marked.isdisjoint(self.stored() - self.committed())

    def teardown(self) -> None:
        """However often it was cut off: said again when all has ended, it leaves what the commit names."""
        self.gc.kill()
        self.now += 2 * A_RUN
        for row in self.rows.values():
            row["state"] = row["state"] if State(row["state"]).is_terminal else "failed"
        self.mark(None)
        if self.gc.is_in_its_pause:
            self.gc_removes(None)
        self.gc.close()
        assert self.stored() <= self.committed()

    def committed(self) -> set[str]:
        return {self.commit.token} if self.commit else set()

    def stored(self) -> set[str]:
        """Return the tokens of whom something is stored."""
        return {run.token for run in self.all_runs if any(self.lake.list(run.key("")))}

    @invariant()
    def every_file_of_the_commit_is_there(self) -> None:
        if self.commit is not None:
            assert self.commit.files <= self.lake.objects.keys()

    @invariant()
    def every_file_of_a_commit_that_will_arrive_is_there(self) -> None:
        for run in self.all_runs:
            is_sent = run.begun is not None and self.now <= run.begun + DELIVERY
            is_next = run.is_alive and run.is_checked and run.signed_until and self.now <= run.signed_until
            if self.commit is None and (is_sent or is_next):
                assert run.files <= self.lake.objects.keys()

    @invariant()
    def every_file_of_a_live_attempt_is_there(self) -> None:
        for run in self.all_runs:
            row = self.rows.get(run.process) if run.process is not None else None
            may_go_on = is_open(row) if row else self.now < run.started + A_RUN
            if run.is_alive and may_go_on:
                assert run.files <= self.lake.objects.keys()


TestWorld = World.TestCase
TestWorld.settings = hypothesis_settings(max_examples=300, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("is_operators", [True, False])
def test_whenever_a_sleeper_goes_on_gc_takes_nothing_that_it_may_commit(is_operators: bool, steps: int) -> None:
    """Each beginning of the machine, with gc after it: here no chance is needed."""
    for sleeps, pause in product(SLEEPS, PAUSES):
        world = World()
        world.one_has_slept_since_it_wrote_everything(is_operators, sleeps, steps, pause)
        if world.gc.is_in_its_pause:
            world.gc_removes(None)
        world.every_file_of_the_commit_is_there()
        world.every_file_of_a_commit_that_will_arrive_is_there()
        world.every_file_of_a_live_attempt_is_there()
        world.teardown()
