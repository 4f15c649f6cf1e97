"""Our code location with schedules over a fake API, and Dagster's real scheduler, one round at a time.

``python -m tests.integration.schedule_location DAGSTER_FOLDER MOMENT CRASH_POINT`` is a daemon that dies at a point of
Dagster's own (TICK_CREATED, TICK_HELD) in its round at ``MOMENT``.
"""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from dagster import DagsterInstance, ResourceDefinition
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, InstigatorType
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from assets.profiles import load_images, load_profiles
from assets.registry import registry
from orchestration.definitions import build
from orchestration.schedule_file import Schedule
from orchestration.spark import spark
from resources.backfills import Backfills
from resources.dagster.resources import RESOURCES
from tests.fake_backfills import FakeBackfills

MODULE = "tests.integration.schedule_location"  # not __name__: a daemon of its own process must find the same schedule
MANY_RETRIES = 100_000


class World:
    """What the schedules ask; a test replaces it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.fake = FakeBackfills()
        self.backfills: Backfills = self.fake


WORLD = World()
NIGHTLY = Schedule.model_validate(
    {
        "name": "nightly",
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "action": "aggregate_revenue",
        "data_version": "v%Y.%m.%d",
        "select": {"entities": ["shop-1", "shop-2"]},
        "priority": 3,
    }
)
defs = build(
    registry(),
    {**RESOURCES, "backfills": ResourceDefinition(lambda _: WORLD.backfills), "spark": spark},
    load_profiles(),
    load_images(),
    [NIGHTLY],
)


@contextmanager
def dagster(folder: Path) -> Iterator[DagsterInstance]:
    """Yield an instance of its own."""
    with DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@contextmanager
def workspace(instance: DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    """Yield Dagster's view of the code location."""
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=None, module_name=MODULE, attribute="defs"))
    with create_test_daemon_workspace_context(InProcessWorkspaceLoadTarget(origin), instance) as context:
        yield context


def round_at(instance: DagsterInstance, now: datetime, crash_point: str | None = None) -> None:
    """Let the scheduler do its round at ``now``, as a daemon that has just started."""
    with workspace(instance) as context:
        rounds = launch_scheduled_runs(
            context,
            logging.getLogger("dagster.daemon.SchedulerDaemon"),
            end_datetime_utc=now,
            iteration_times={},
            max_tick_retries=MANY_RETRIES,
            debug_crash_flags={NIGHTLY.name: {crash_point: signal.SIGKILL}} if crash_point else None,
        )
        for _ in rounds:
            pass


def ticks(instance: DagsterInstance) -> list[InstigatorTick]:
    """Return the schedule's ticks, newest first."""
    state = schedule_state(instance)
    return [*instance.get_ticks(state.instigator_origin_id, state.selector_id)]


def schedule_state(instance: DagsterInstance) -> InstigatorState:
    """Return what Dagster stores of the schedule."""
    (state,) = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    return state


if __name__ == "__main__":
    with dagster(Path(sys.argv[1])) as found:
        round_at(found, datetime.fromisoformat(sys.argv[2]), sys.argv[3])
    sys.exit(f"survived {sys.argv[3]}")
