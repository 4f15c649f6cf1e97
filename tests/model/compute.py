"""Dagster and the runs: the real sensor's tick, a daemon that may die anywhere, and the real runner in every run."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from assets.reading.sources import Sources
from assets.running.runner import run_member, run_operator
from assets.running.task import Tools
from contracts.cursor import Cursor
from contracts.intake import LAUNCH_TAG, IntakeAnswer, IntakeRequest
from contracts.messages import Profile
from contracts.problems import LakemillError, ProblemError
from contracts.reports import Catalogue, Event, LaunchMembers, Report, ReportAnswer
from contracts.views import RunStatus
from control.rules.reconciling import FoundRuns
from resources.control_plane import (
    AttemptSupersededError,
    ControlPlaneError,
    ControlPlaneRefusedError,
    ControlPlaneUnavailableError,
    PermitHeldError,
)
from resources.dagster.runs import RunState
from resources.log import RecordLogError
from sensors.process_requests import Memory, ProcessRequests, Tick
from tests.model.action import MemorySessions, action_over, count_orders
from tests.model.api import Api
from tests.model.history import Begun, Kept
from tests.model.intake import Intake
from tests.model.rows import Row
from tests.model.tasks import Task, pause
from tests.model.world import World


class Link:
    """The control plane as the compute plane calls it: answers may be lost after they were meant."""

    def __init__(self, world: World, api: Api, intake: Intake) -> None:
        self.world = world
        self.api = api
        self._intake = intake
        self.is_down = False
        self.lost_answers = 0

    def intake(self, request: IntakeRequest) -> IntakeAnswer:
        pause("S1")
        self._must_be_up()
        answer = self._intake.take(request)
        pause("S2")
        self._may_lose_it()
        return answer

    def members(self, launch_id: UUID) -> LaunchMembers:
        self._must_be_up()
        return self.api.members(launch_id)

    def report(self, report: Report) -> ReportAnswer:
        pause("J7" if report.event is Event.SUCCEEDED else f"{report.event.value} said")
        self._must_be_up()
        try:
            answer = self.api.receive(report)
        except ProblemError as refusal:
            raise _as_heard(refusal) from refusal
        pause(f"{report.event.value} heard")
        self._may_lose_it()
        return answer

    def publish(self, catalogue: Catalogue) -> None:
        raise NotImplementedError("the catalogue does not change here")

    def _must_be_up(self) -> None:
        if self.is_down:
            raise ControlPlaneUnavailableError("the API is down")

    def _may_lose_it(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            raise ControlPlaneUnavailableError("the answer was lost")


def _as_heard(refusal: ProblemError) -> ControlPlaneError:
    match refusal.problem.code:
        case "attempt_superseded":
            return AttemptSupersededError(refusal.detail)
        case "permit_held":
            return PermitHeldError(refusal.detail, float(refusal.extra["retry_after"]))
    return ControlPlaneRefusedError(str(refusal))


@dataclass(slots=True)
class Run:
    """Dagster's run, and the process that computes it (two, when a pod was started twice)."""

    run_id: str
    launch_id: UUID
    status: RunState = RunState.NOT_STARTED
    tasks: list[Task] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.status in {RunState.SUCCESS, RunState.FAILURE, RunState.CANCELED}

    def told(self) -> RunStatus:
        return RunStatus(run_id=self.run_id, status=self.status, started_at=None, ended_at=None, url="http://ui/r")


class Dagster:
    """The daemon and its storage. ``is_unreadable``: the control plane cannot look at the runs."""

    def __init__(self, world: World, link: Link) -> None:
        self.world = world
        self.link = link
        self.cursor: str | None = None
        self.reserved: Tick | None = None
        self.runs: dict[UUID, Run] = {}
        self.is_unreadable = False
        self.accident: str | None = None
        """``swallowed``: the next submit fails silently. ``dropped``: the sensor is switched off before it."""
        self._daemon = 0
        self._memory = Memory()

    def tick(self) -> None:
        """One round of the sensor daemon; a newer one makes an older one's result worth nothing."""
        self._daemon += 1
        me = self._daemon
        if self.reserved is None:
            try:
                found = self.world.decisions.tick(self._sensor(), self.cursor)
            except (RecordLogError, ControlPlaneError):
                return
            pause("S3")
            if me != self._daemon:
                return
            self.reserved = found
        pause("D1")
        if me == self._daemon and self.reserved is not None:
            self._submit(self.reserved, me)

    def _submit(self, reserved: Tick, me: int) -> None:
        accident, self.accident = self.accident, None
        for request in reserved.runs:
            launch_id = UUID(request.tags[LAUNCH_TAG])
            if accident == "dropped":
                break
            if launch_id in self.runs and self.runs[launch_id].status is not RunState.NOT_STARTED:
                continue
            run = self.runs.get(launch_id) or self._create(launch_id)
            pause("D2")
            if me != self._daemon:
                return
            if accident != "swallowed":
                run.status = RunState.QUEUED
            pause("D3")
            if me != self._daemon:
                return
        self.cursor, self.reserved = reserved.cursor.encode(), None
        for position in reserved.cursor.topics.values():
            self.world.history.append(Kept(position.topic_id, dict(position.next_offsets)))

    def _create(self, launch_id: UUID) -> Run:
        run = self.runs[launch_id] = Run(str(self.world.new_id()), launch_id)
        self.world.history.append(Begun(launch_id, run.run_id))
        return run

    def forget_the_tick(self) -> None:
        """Be dead for longer than a tick is resumed: it is evaluated again, from the old cursor."""
        self.reserved = None

    def start(self, run: Run, ailment: str | None = None) -> Task:
        """Start the process of a run; a second one of the same run is started twice by mistake."""
        if not run.is_over:
            run.status = RunState.STARTED
        task = Task("run", lambda: self._compute(run, ailment))
        run.tasks.append(task)
        return task

    def _compute(self, run: Run, ailment: str | None) -> None:
        action, tools = action_over(self.world.store, ailment), self._tools()
        try:
            for member in self.link.members(run.launch_id).members:
                run_member(member, run_id=run.run_id, action=action, tools=tools)
        except (LakemillError, MemoryError, ValueError):
            self._over(run, RunState.FAILURE)
        else:
            self._over(run, RunState.SUCCESS)

    def publish_by_hand(self, entity_id: str) -> None:
        """Let an operator start a run that belongs to no process."""
        with suppress(LakemillError):
            run_operator(
                action_over(self.world.store),
                entity_id,
                "v1",
                run_id=str(self.world.new_id()),
                profile=Profile(),
                tools=self._tools(),
            )

    def _tools(self) -> Tools:
        store, clock = self.world.store, self.world.clock
        permit_seconds = self.world.settings.permit_seconds
        return Tools(self.link, store, Sources(store), MemorySessions(store), permit_seconds, clock, clock.sleep)

    @staticmethod
    def _over(run: Run, status: RunState) -> None:
        if not run.is_over:
            run.status = status

    @property
    def has_read_all(self) -> bool:
        """Whether the stored cursor lies behind everything in the log."""
        here = Cursor.parse(self.cursor).topics.get(self.world.log.topic)
        ends = dict(enumerate(self.world.log.ends))
        return here is not None and (here.topic_id, here.next_offsets) == (self.world.log.topic_id, ends)

    def find_runs(self, rows: Sequence[Row]) -> FoundRuns | None:
        """See control.reconciling.reconciler: the runs of the attempts in ``rows``."""
        if self.is_unreadable:
            return None
        launch_ids = {row["launch_id"] for row in rows}
        told = {launch_id: run.told() for launch_id, run in self.runs.items() if launch_id in launch_ids}
        return FoundRuns(told, {run.run_id: run for run in told.values()})

    def _sensor(self) -> ProcessRequests:
        return ProcessRequests(
            log=self.world.log,
            control_plane=self.link,
            actions={count_orders.name: count_orders.digest},
            size_of=lambda _launch: {},
            existing_keys=lambda _name, keys: keys,
            memory=self._memory,
            relay_topic=self.world.log.topic,
            wait_seconds=0,
            max_records=3,
            clock=self.world.clock.seconds,
        )
