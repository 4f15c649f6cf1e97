"""Dagster's storage as the stack uses it: pooled for servers, and told about runs that a stop has ended."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, job, op
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from bench.plans import sent_statements
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


_OTHERS = "FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()"


class Server:
    """The test's PostgreSQL, asked on a connection that is not counted."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool)

    def ask(self, what: str) -> int:
        with self._engine.connect() as conn:
            return int(conn.scalar(text(f"SELECT {what} {_OTHERS}")) or 0)

    @property
    def backends(self) -> set[int]:
        """The process of each connection."""
        with self._engine.connect() as conn:
            return set(conn.scalars(text(f"SELECT pid {_OTHERS}")))

    @property
    def connections(self) -> int:
        return self.ask("count(*)")

    def end_all(self) -> int:
        """End every connection, as a restart would."""
        return self.ask("count(*) FILTER (WHERE pg_terminate_backend(pid, 5000))")

    def until(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while self.connections != count:
            assert time.monotonic() < deadline, f"{self.connections} connections are open"
            time.sleep(0.1)


def server_of(home: Path) -> Server:
    """Return the server that the instance at ``home`` writes to."""
    return Server(json.loads((home / "dagster.yaml").read_text())["storage"]["custom"]["config"]["postgres_url"])


def write(home: Path) -> None:
    """Write as a run does, and again once all was cut off and once all was closed."""
    server = server_of(home)
    with DagsterInstance.from_config(str(home)) as instance:
        for _ in range(3):
            run = instance.add_run(DagsterRun("job", status=DagsterRunStatus.SUCCESS))
            instance.report_engine_event("one", run)
            assert server.connections == 2
        assert server.end_all() == 2
        instance.report_engine_event("another", run)
        server.until(0)
        instance.report_engine_event("a third", run)
        assert [event.message for event in instance.all_logs(run.run_id)] == ["one", "another", "a third"]


def test_a_server_keeps_its_connections(home: Path) -> None:
    """After a rush too: what it opened is used by the next one."""
    server = server_of(home)
    with DagsterInstance.from_config(str(home)) as instance, ThreadPoolExecutor(8) as pool:

        def rush() -> set[int]:
            list(pool.map(lambda _: instance.add_run(DagsterRun("job")), range(80)))
            return server.backends

        first = rush()
        assert 1 < len(first) <= 4
        assert first <= rush()
    server.end_all()  # the other tests count


def test_a_run_keeps_its_connections_while_it_writes_and_survives_their_loss(home: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=write, args=(home,))
    child.start()
    child.join(90)
    assert child.exitcode == 0


@op
def nothing() -> None:
    return


@job
def one_op() -> None:
    nothing()


def test_the_catalogue_is_asked_once_for_what_does_not_change(home: Path) -> None:
    with DagsterInstance.from_config(str(home)) as instance:
        asked = []
        for _ in range(2):
            with sent_statements() as sent:
                run = one_op.execute_in_process(instance=instance)
                assert instance.get_run_by_id(run.run_id)
                assert not instance.all_instigator_state()
                assert instance.get_asset_records() == []
            asked.append([each.statement for each in sent if "pg_catalog" in each.statement])
    assert asked[0], "Dagster asks no more: orchestration/storage.py can do without _QUESTIONS"
    assert asked[1] == []


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
