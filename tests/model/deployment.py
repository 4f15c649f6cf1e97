"""One whole deployment of the model: API, worker, Dagster, runs, store, log and a receiver."""

from collections.abc import Sequence

from contracts.identity import Coordinate
from contracts.reports import COMMIT_DELIVERY_SECONDS
from contracts.storage import commit_key
from resources.dagster.runs import RunState
from tests.model.api import Api
from tests.model.compute import Dagster, Link, Run
from tests.model.decisions import Decisions
from tests.model.endings import Endings
from tests.model.intake import Intake
from tests.model.receiver import Receiver
from tests.model.rows import Tables
from tests.model.tasks import Task
from tests.model.worker import Worker
from tests.model.world import World


class Deployment:
    """Everything around one ``World``."""

    def __init__(self, decisions: Decisions) -> None:
        self.world = World(decisions)
        self.endings = Endings(self.world)
        self.api = Api(self.world, self.endings)
        self.link = Link(self.world, self.api, Intake(self.world, self.endings))
        self.dagster = Dagster(self.world, self.link)
        self.receiver = Receiver(self.world.history)
        self.worker = Worker(self.world, self.endings, self.dagster, self.receiver)

    def loop(self, what: str) -> Task:
        """Return one pass of a loop, not begun yet."""
        loops = {
            "release": self.worker.release,
            "tick": self.dagster.tick,
            "reconcile": self.worker.reconcile,
            "deliver": self.worker.deliver,
        }
        return Task(what, loops[what])

    def queued(self) -> list[Run]:
        """Return the runs whose process is to be started."""
        return [run for run in self.dagster.runs.values() if run.status is RunState.QUEUED]

    def is_run(self, task: Task) -> bool:
        """Whether the task is a run's process."""
        return any(task in run.tasks for run in self.dagster.runs.values())

    def restore(self, backup: Tables, held_up: Sequence[Task], *, is_patient: bool = True) -> None:
        """Stop the control plane, put its database back, index what is published, and begin again.

        ``is_patient``: not before every permit is dead that was given after the backup, and is forgotten now.
        """
        for task in held_up:
            if not self.is_run(task) or task.at in {"before the look", "after the look"}:
                task.kill()
        world, settings = self.world, self.world.settings
        if is_patient:
            world.clock.advance(settings.permit_seconds + settings.clock_skew_seconds + COMMIT_DELIVERY_SECONDS + 1)
        world.rows.restore(backup)
        for key in world.store.objects:
            if key == commit_key(Coordinate(*key.split("/")[:3])):
                world.rows.now.snapshots[key] = {}
