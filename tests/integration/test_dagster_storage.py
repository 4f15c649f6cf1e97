"""Dagster's storage as the stack uses it: pooled for servers, and told about runs that a stop has ended."""

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from sqlalchemy.pool import NullPool, QueuePool

from orchestration.orphans import end_orphans
from tests.integration.postgres import postgres


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with postgres() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, address: str) -> Path:
    url = f"postgresql://{address}/postgres"
    storage = {"module": "orchestration.storage", "class": "PooledPostgresStorage"}
    config = {"postgres_url": url, "keep_connections": 4}
    document = {"storage": {"custom": {**storage, "config": config}}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(json.dumps(document))  # JSON is YAML
    return tmp_path


def pools(home: Path) -> set[type]:
    with DagsterInstance.from_config(str(home)) as instance:
        parts: list[Any] = [instance.run_storage, instance.event_log_storage, instance.schedule_storage]
        return {type(part._engine.pool) for part in parts}


def pools_of_a_child(home: Path, answer: "multiprocessing.Queue[set[type]]") -> None:
    answer.put(pools(home))


def test_a_server_keeps_its_connections(home: Path) -> None:
    assert pools(home) == {QueuePool}


def test_a_run_keeps_none(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[set[type]] = context.Queue()
    child = context.Process(target=pools_of_a_child, args=(home, answer))
    child.start()
    assert answer.get(timeout=60) == {NullPool}
    child.join(30)


def test_a_stop_ends_what_was_in_progress_and_nothing_else(home: Path) -> None:
    begun = {
        DagsterRunStatus.NOT_STARTED: DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING: DagsterRunStatus.FAILURE,
        DagsterRunStatus.STARTED: DagsterRunStatus.FAILURE,
        DagsterRunStatus.CANCELING: DagsterRunStatus.CANCELED,
        DagsterRunStatus.SUCCESS: DagsterRunStatus.SUCCESS,
    }
    with DagsterInstance.from_config(str(home)) as instance:
        runs = {instance.add_run(DagsterRun("job", status=status)).run_id: status for status in begun}
        assert end_orphans(instance) == 3
        ended = {run_id: instance.get_run_by_id(run_id) for run_id in runs}
        assert {run_id: run.status for run_id, run in ended.items() if run} == {
            run_id: begun[status] for run_id, status in runs.items()
        }
        assert end_orphans(instance) == 0
