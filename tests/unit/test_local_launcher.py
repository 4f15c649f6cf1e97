"""The embedded stack's launcher: run monitoring fails a run whose process is gone, and no other."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    overrides = {
        "run_launcher": {"module": "deploy.local.launcher", "class": "EmbeddedRunLauncher"},
        "run_monitoring": {"enabled": True, "max_resume_run_attempts": 0},
        "telemetry": {"enabled": False},
    }
    with DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as found:
        yield found


@contextmanager
def a_process() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def started_run(instance: DagsterInstance, pid: int) -> str:
    run = instance.add_run(DagsterRun("job", status=DagsterRunStatus.STARTED))
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))
    return run.run_id


def monitored(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    """Return what the run is after one round of Dagster's run monitoring."""
    with create_test_daemon_workspace_context(EmptyWorkspaceTarget(), instance) as workspace:
        assert [error for error in execute_run_monitoring_iteration(workspace, logging.getLogger()) if error] == []
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_lives_as_long_as_its_process(instance: DagsterInstance) -> None:
    with a_process() as process:
        run_id = started_run(instance, process.pid)
        assert monitored(instance, run_id) is DagsterRunStatus.STARTED
        process.kill()
        process.wait()
        assert monitored(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_process_that_has_left_early_is_dead_whatever_its_exit_code(instance: DagsterInstance) -> None:
    with a_process() as process:
        run_id = started_run(instance, process.pid)
        process.communicate()
        assert process.returncode == 0
        assert monitored(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_zombie_is_dead(instance: DagsterInstance) -> None:
    with a_process() as process:
        run_id = started_run(instance, process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has asked how
        assert monitored(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_younger_process_with_the_same_id_is_another_one(instance: DagsterInstance) -> None:
    with a_process() as process:
        (noted,) = instance.all_logs(started_run(instance, process.pid))
        run_id = instance.add_run(DagsterRun("job", status=DagsterRunStatus.STARTED)).run_id
        instance.store_event(noted._replace(run_id=run_id, timestamp=noted.timestamp - 3600))
        assert monitored(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_live_run_is_failed_when_its_time_is_over_and_not_before(instance: DagsterInstance) -> None:
    with a_process() as process:
        run_id = started_run(instance, process.pid)
        began = DagsterEvent(DagsterEventType.RUN_START.value, "job")
        instance.report_dagster_event(began, run_id)
        assert monitored(instance, run_id) is DagsterRunStatus.STARTED
        limit = 0.001
        instance.add_run_tags(run_id, {"dagster/max_runtime": str(limit)})
        assert monitored(instance, run_id) is DagsterRunStatus.FAILURE
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    assert record.start_time is not None
    assert record.end_time is not None
    assert record.end_time - record.start_time > limit  # by this the reconciler tells such an end
