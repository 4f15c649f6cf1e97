"""The protocol as a state machine: what anybody may do at any moment, and what may go wrong at every point."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from tests.model.accidents import ACCIDENTS, COMMON, recover
from tests.model.decisions import Decisions
from tests.model.deployment import Deployment
from tests.model.rest import come_to_rest
from tests.model.rows import Tables
from tests.model.tasks import Task
from tests.model.world import CATALOGUE, TENANTS

TENANT = st.sampled_from(sorted(TENANTS))
ENTITY = st.sampled_from(["e1", "e2", "e3"])
FATE = st.sampled_from(["end", "end", "wait", "wait", "die", "die"])
STEPS = st.integers(0, 9)
ANY = st.integers(0, 7)
ACCIDENT = st.none() | st.sampled_from(COMMON) | st.sampled_from(sorted(ACCIDENTS))
POINTS = {"release": 3, "tick": 6, "reconcile": 9, "deliver": 3}
"""How often each loop waits before it has come to its end, about."""
_HELD_UP = 6
_ENOUGH = 1_000


class ProtocolMachine(RuleBasedStateMachine):
    """Rules act on one ``Deployment``; what holds is checked when everything has come to rest.

    Few rules with many choices each: Hypothesis leaves some rules out of every example.
    """

    decisions: ClassVar[Decisions] = Decisions()
    killed_at: ClassVar[Counter[str]] = Counter()
    """How often something died at a point, in all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.at = Deployment(self.decisions)
        self.held_up: list[Task] = []
        self.backup: Tables | None = None
        self.zombies_sleep = False
        self.was_by_hand = False

    @initialize(
        zombies_sleep=st.booleans(),
        max_in_flight=st.sampled_from([1, 3]),
        begun=st.lists(st.tuples(TENANT, ENTITY, STEPS), min_size=1, max_size=3),
    )
    def begin(self, *, zombies_sleep: bool, max_in_flight: int, begun: list[tuple[str, str, int]]) -> None:
        self.zombies_sleep = zombies_sleep
        self.at.world.settings = self.at.world.settings.model_copy(update={"max_in_flight": max_in_flight})
        for tenant, entity, steps in begun:
            self.submit(tenant, entity, None, 0, 604_800, None)
            if steps:
                self.flow("run", steps, "wait", None)

    @rule(
        tenant=TENANT,
        entity=ENTITY,
        key=st.sampled_from([None, "k1", "k2"]),
        priority=st.sampled_from([0, 0, 5]),
        deadline=st.sampled_from([604_800, 604_800, 60]),
        doomed_at=st.sampled_from([None, None, None, "A1", "A2", "A3"]),
    )
    def submit(
        self, tenant: str, entity: str, key: str | None, priority: int, deadline: int, doomed_at: str | None
    ) -> None:
        request = ProcessRequest(
            entity_id=entity,
            data_version="v1",
            action=CATALOGUE.name,
            callback_url=f"https://{tenant}.example/hook",
            priority=priority,
            deadline_seconds=deadline,
        )
        task = Task("submit", partial(self.at.api.submit, TENANTS[tenant], request, key))
        task.doomed_at = doomed_at
        with suppress(ProblemError):
            task.finish(until=doomed_at)
        self.kill(task)

    @rule(
        which=ANY,
        what=st.sampled_from(["cancel", "cancel", "retry", "retry", "subscribe", "redeliver"]),
        steps=STEPS,
        fate=FATE,
    )
    @precondition(lambda self: bool(self.at.world.rows.now.processes))
    def ask(self, which: int, what: str, steps: int, fate: str) -> None:
        rows = list(self.at.world.rows.now.processes.values())
        row = rows[which % len(rows)]
        calls: dict[str, Callable[[], object]] = {
            "cancel": partial(self.at.api.cancel, row["id"]),
            "retry": partial(self.at.api.retry, TENANTS[row["tenant_id"]], row["id"]),
            "subscribe": partial(self.at.api.subscribe, row["id"], "https://other.example/hook"),
            "redeliver": partial(self.at.api.redeliver, row["id"]),
        }
        self.drive(Task(what, calls[what]), steps, fate)

    @rule(
        what=st.sampled_from(["release", "tick", "reconcile", "reconcile", "deliver", "deliver"]),
        steps=STEPS,
        fate=FATE,
        accident=ACCIDENT,
    )
    def work(self, what: str, steps: int, fate: str, accident: str | None) -> None:
        self.suffer(accident, steps)
        self.drive(self.at.loop(what), 1 + steps % POINTS[what], fate)

    @rule(
        stage=st.sampled_from(["release", "release", "tick", "tick", "run", "run", "run"]),
        steps=STEPS,
        fate=FATE,
        accident=ACCIDENT,
    )
    def flow(self, stage: str, steps: int, fate: str, accident: str | None) -> None:
        """The usual way, as far as into one stage of it."""
        self.suffer(accident, steps)
        for what in ("release", "tick"):
            if what == stage:
                self.drive(self.at.loop(what), 1 + steps % POINTS[what], fate)
                return
            self.drive(self.at.loop(what), 0, "end")
        for run in self.at.queued():
            self.drive(self.at.dagster.start(run), steps, fate)

    @rule(which=ANY, steps=STEPS, fate=FATE, ailment=st.sampled_from([None, None, "raises", "memory"]))
    @precondition(lambda self: bool(self.at.dagster.runs))
    def start_run(self, which: int, steps: int, fate: str, ailment: str | None) -> None:
        """Start a run, or the process of one a second time."""
        runs = self.at.queued() or list(self.at.dagster.runs.values())
        self.drive(self.at.dagster.start(runs[which % len(runs)], ailment), steps, fate)

    @rule(which=ANY, steps=STEPS, fate=FATE, accident=ACCIDENT)
    @precondition(lambda self: bool(self.held_up))
    def go_on(self, which: int, steps: int, fate: str, accident: str | None) -> None:
        self.suffer(accident, which)
        task = self.held_up.pop(which % len(self.held_up))
        if not task.is_over:
            self.drive(task, steps, fate)

    @rule(seconds=st.sampled_from([1, 6, 31, 31, 121, 140, 700, 90_000]))
    def pass_time(self, seconds: int) -> None:
        """Outages end, and what waits becomes due."""
        recover(self.at)
        self.at.world.clock.advance(seconds)

    @rule(accident=st.sampled_from(sorted(ACCIDENTS)), which=ANY)
    def suffer(self, accident: str | None, which: int) -> None:
        if accident is not None:
            ACCIDENTS[accident](self.at, which)

    @rule(entity=ENTITY, steps=STEPS, fate=FATE)
    @precondition(lambda self: not self.was_by_hand)
    def publish_by_hand(self, entity: str, steps: int, fate: str) -> None:
        self.was_by_hand = True
        self.drive(Task("operator", partial(self.at.dagster.publish_by_hand, entity)), steps, fate)

    @rule(is_backup=st.sampled_from([True, True, False]))
    def keep_or_restore(self, *, is_backup: bool) -> None:
        if is_backup or self.backup is None:
            self.backup = self.at.world.rows.now.copy()
        else:
            self.at.restore(self.backup, self.held_up)

    def kill(self, task: Task) -> None:
        if task.at is not None and (task.is_dead or not task.is_over):
            self.killed_at[task.at] += 1
        task.kill()

    def drive(self, task: Task, steps: int, fate: str) -> None:
        """Let the task go on for so many steps, and then to its end, its death, or not."""
        with suppress(ProblemError):
            for _ in range(_ENOUGH if fate == "end" else steps):
                if task.is_over or (task.at == "asleep" and fate == "end"):
                    break
                task.step()
        if fate == "die":
            self.kill(task)
        if not task.is_over:
            self.held_up.append(task)
        if len(self.held_up) > _HELD_UP:
            self.held_up.pop(0).kill()

    def teardown(self) -> None:
        broken = come_to_rest(self.at, self.held_up, zombies_sleep=self.zombies_sleep)
        if broken:
            note("\n".join(map(repr, self.at.world.history)))
            raise BrokenGuaranteeError("\n".join(broken))


class BrokenGuaranteeError(AssertionError):
    """Something does not hold; every line begins with the number of a guarantee."""


def machine_of(decisions: Decisions) -> type[ProtocolMachine]:
    """Return the machine of a program that decides otherwise."""
    return type("BrokenMachine", (ProtocolMachine,), {"decisions": decisions})
