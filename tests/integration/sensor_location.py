"""Our code location over a fake log and a fake control plane, and Dagster's real sensor daemon, one round at a time.

``python -m tests.integration.sensor_location DAGSTER_FOLDER CRASH_POINT`` is a daemon that dies at a point of Dagster's
own (TICK_HELD, RUN_IDS_RESERVED, RUN_CREATED, RUN_LAUNCHED).
"""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from dagster import DagsterInstance, ResourceDefinition
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, SensorInstigatorData, TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from pydantic import SecretStr

from assets.profiles import load_images, load_profiles
from assets.registry import registry
from orchestration.definitions import build
from orchestration.spark import spark
from resources.dagster.resources import RESOURCES
from resources.log import RecordLog
from resources.settings import ComputeSettings
from tests.fake_intake import FakeControlPlane, launch_value
from tests.memory_log import MemoryLog

MODULE = "tests.integration.sensor_location"  # not __name__: a daemon of its own process must find the same sensor
SENSOR = "process_requests"
_SETTINGS = ComputeSettings(internal_secret=SecretStr("internal-secret-of-the-tests"), poll_seconds=10)
LAUNCH_ID = UUID("01900000-0000-7000-8000-000000000001")


class World:
    """What the sensor sees; a test replaces the parts. A new process finds the same first record."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.memory = MemoryLog()
        self.memory.topic_id = "the-first-topic"
        self.memory.write(b"k", launch_value(LAUNCH_ID))
        self.log: RecordLog = self.memory
        self.settings = _SETTINGS
        self.control_plane = FakeControlPlane()


WORLD = World()
defs = build(
    registry(),
    {
        **RESOURCES,
        "settings": ResourceDefinition(lambda _: WORLD.settings),
        "record_log": ResourceDefinition(lambda _: WORLD.log),
        "intake": ResourceDefinition(lambda _: WORLD.control_plane),
        "spark": spark,
    },
    load_profiles(),
    load_images(),
)


@contextmanager
def dagster(folder: Path) -> Iterator[DagsterInstance]:
    """Yield an instance whose submitted runs stay queued."""
    coordinator = {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"}
    overrides = {"run_coordinator": coordinator, "telemetry": {"enabled": False}}
    with DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
        yield instance


def tick(instance: DagsterInstance, crash_point: str | None = None) -> InstigatorTick:
    """Let the daemon do one round; return the tick it ended with."""
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=None, module_name=MODULE, attribute="defs"))
    crash = {SENSOR: {crash_point: signal.SIGKILL}} if crash_point else None
    with create_test_daemon_workspace_context(InProcessWorkspaceLoadTarget(origin), instance) as workspace:
        rounds = execute_sensor_iteration(
            workspace,
            logging.getLogger("dagster.daemon.SensorDaemon"),
            threadpool_executor=None,
            submit_threadpool_executor=None,
            debug_crash_flags=crash,
        )
        for _ in rounds:
            pass
    return newest_tick(instance)


def newest_tick(instance: DagsterInstance, name: str = SENSOR) -> InstigatorTick:
    """Return the newest tick of a sensor."""
    state, _ = _state(instance, name)
    return instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)[0]


def stored_cursor(instance: DagsterInstance) -> str | None:
    """Return what Dagster will give to the next tick."""
    _, data = _state(instance, SENSOR)
    return data.cursor


def change_state(instance: DagsterInstance, name: str = SENSOR, **changes: Any) -> None:
    """Change what Dagster stores of a sensor between ticks."""
    state, data = _state(instance, name)
    instance.update_instigator_state(state.with_data(data._replace(**changes)))


def _state(instance: DagsterInstance, name: str) -> tuple[InstigatorState, SensorInstigatorData]:
    (state,) = (found for found in instance.all_instigator_state() if found.instigator_name == name)
    assert isinstance(state.instigator_data, SensorInstigatorData)
    return state, state.instigator_data


if __name__ == "__main__":
    with dagster(Path(sys.argv[1])) as found:
        ended = tick(found, sys.argv[2])
    sys.exit(f"survived {sys.argv[2]} with {ended.status}" if ended.status is not TickStatus.STARTED else 1)
