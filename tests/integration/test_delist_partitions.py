"""Old partitions leave Dagster's lists: its real sensor daemon over PostgreSQL, one round at a time."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
)
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._time import get_current_timestamp

from assets.partitions import DATA_VERSIONS, ENTITIES, add_keys
from assets.registry import registry
from deploy.local.site import ROOT
from sensors.delist_partitions import BUDGET_SECONDS, Delisting, Marks
from tests.fake_intake import launch_value
from tests.integration.postgres import BIN, postgres
from tests.integration.sensor_location import LAUNCH_ID, WORLD, change_state, newest_tick, tick

DELIST = "delist_partitions"
VERSIONS = [f"v{number}" for number in (7, 3, 12, 1, 9, 5, 11, 2, 10, 4, 8, 6)]
"""In the order of their runs, which is not the order of their names."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with postgres() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, address: str) -> Path:
    """A DAGSTER_HOME over an empty database; submitted runs stay queued."""
    WORLD.reset()
    WORLD.memory.recreate()
    user, _, place = address.partition("@")
    host, _, port = place.partition(":")
    name = f"dagster_{uuid4().hex}"
    subprocess.run([str(BIN / "createdb"), "-h", host, "-p", port, "-U", user, name], check=True)
    storage = {"module": "orchestration.storage", "class": "PooledPostgresStorage"}
    config = {"postgres_url": f"postgresql://{address}/{name}", "keep_connections": 4}
    document = {
        "storage": {"custom": {**storage, "config": config}},
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"},
        "telemetry": {"enabled": False},
    }
    (tmp_path / "dagster.yaml").write_text(json.dumps(document))  # JSON is YAML
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.from_config(str(home)) as found:
        yield found


def launch(instance: DagsterInstance, *coordinates: tuple[str, str]) -> None:
    """Let records of these versions and entities come through the sensor, in this order."""
    for version, entity in coordinates:
        WORLD.memory.write(b"k", launch_value(uuid4(), entity=entity, version=version))
    wake(instance, "process_requests")
    assert newest_tick(instance).status is TickStatus.SUCCESS


def wake(instance: DagsterInstance, name: str) -> InstigatorTick:
    """Let the daemon do a round in which the interval of this sensor is over, and of no other."""
    for state in instance.all_instigator_state():
        moment = 1.0 if state.instigator_name == name else 1e10
        change_state(instance, state.instigator_name, last_tick_timestamp=moment, last_tick_start_timestamp=moment)
    tick(instance)
    return newest_tick(instance, name)


def passes(instance: DagsterInstance, count: int = 2) -> InstigatorTick:
    """Let the daemon do so many passes; return the last one's tick."""
    for _ in range(count):
        done = wake(instance, DELIST)
        assert done.status is TickStatus.SKIPPED, done.error
    return done


def end_runs(instance: DagsterInstance, *but: str) -> None:
    """End all runs but those at the versions ``but``."""
    for run in instance.get_runs():
        if run.tags["dagster/partition/data_version"] not in but and run.status is DagsterRunStatus.QUEUED:
            instance.report_run_canceled(run)


def keys(instance: DagsterInstance, name: str = DATA_VERSIONS) -> set[str]:
    return {*instance.get_dynamic_partitions(name)}


def test_of_twelve_versions_the_ten_with_the_newest_runs_stay(instance: DagsterInstance) -> None:
    launch(instance, *((version, "shop") for version in VERSIONS))
    launch(instance, (VERSIONS[0], "other"))  # the oldest one comes to life again
    end_runs(instance)
    passes(instance)
    assert keys(instance) == {*VERSIONS} - {VERSIONS[1], VERSIONS[2]}
    assert keys(instance, ENTITIES) == {"shop", "other"}
    assert passes(instance).skip_reason == "10 versions stay, 0 go; 0 unused entities go"
    assert len(instance.get_runs()) == 13


def test_a_version_with_a_run_that_has_not_ended_stays(instance: DagsterInstance) -> None:
    launch(instance, *((version, "shop") for version in VERSIONS))
    end_runs(instance, VERSIONS[0])
    passes(instance)
    assert keys(instance) == {*VERSIONS} - {VERSIONS[1]}
    end_runs(instance)
    passes(instance)
    assert keys(instance) == {*VERSIONS[2:]}


def test_a_retired_version_is_launched_again_like_any_other(instance: DagsterInstance) -> None:
    launch(instance, *((version, f"only-{version}") for version in VERSIONS))
    end_runs(instance)
    passes(instance)
    old = VERSIONS[0]
    assert not keys(instance) & {old}
    assert not keys(instance, ENTITIES) & {f"only-{old}"}
    launch(instance, (old, f"only-{old}"))
    (run,) = (found for found in instance.get_runs() if found.status is DagsterRunStatus.QUEUED)
    assert run.tags["dagster/partition"] == f"{old}|only-{old}"
    passes(instance)
    assert old in keys(instance)
    assert f"only-{old}" in keys(instance, ENTITIES)
    assert keys(instance, ENTITIES) == {f"only-{version}" for version in [*VERSIONS[3:], old]}


def test_an_entity_goes_when_no_version_that_stays_has_a_trace_of_it(instance: DagsterInstance) -> None:
    old, new = VERSIONS[0], VERSIONS[-1]
    launch(instance, (old, "gone"), (old, "both"), (old, "told"), *((version, "shop") for version in VERSIONS))
    launch(instance, (new, "both"))
    told = AssetMaterialization(AssetKey("revenue"), partition=f"{new}|told")  # of a run that is no longer kept
    instance.report_runless_asset_event(told)
    end_runs(instance)
    passes(instance)
    assert keys(instance, ENTITIES) == {"both", "told", "shop"}


def test_new_keys_have_time_for_their_first_run(instance: DagsterInstance) -> None:
    launch(instance, *((version, "shop") for version in VERSIONS))
    end_runs(instance)
    passes(instance)
    add_keys(instance, "typed-by-hand", "v-typed-by-hand")
    passes(instance, 1)
    assert "v-typed-by-hand" in keys(instance)
    assert "typed-by-hand" in keys(instance, ENTITIES)
    passes(instance, 1)
    assert "v-typed-by-hand" not in keys(instance)
    assert "typed-by-hand" not in keys(instance, ENTITIES)


def test_nothing_goes_while_a_backfill_of_dagsters_own_is_under_way(instance: DagsterInstance) -> None:
    launch(instance, *((version, "shop") for version in VERSIONS))
    end_runs(instance)
    backfill: Any = PartitionBackfill(
        backfill_id="operators",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=get_current_timestamp(),
        asset_selection=[AssetKey("revenue")],
        partition_names=["v1|shop"],
    )
    instance.add_backfill(backfill)
    assert passes(instance).skip_reason == "waits for the end of a backfill of Dagster's own"
    assert keys(instance) == {*VERSIONS}
    instance.update_backfill(backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS))
    passes(instance)
    assert len(keys(instance)) == 10


def test_a_key_retired_in_the_middle_of_a_tick_keeps_no_run_from_its_start(home: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.sensor_location", str(home), "RUN_IDS_RESERVED"]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    with DagsterInstance.from_config(str(home)) as instance:
        instance.delete_dynamic_partition(DATA_VERSIONS, "v1")
        instance.delete_dynamic_partition(ENTITIES, "cust_1")
        WORLD.memory.write(b"k", launch_value(LAUNCH_ID))
        wake(instance, "process_requests")
        (run,) = instance.get_runs()
        assert (run.status, run.tags["dagster/partition"]) == (DagsterRunStatus.QUEUED, "v1|cust_1")


def test_thousands_of_keys_go_in_short_passes(instance: DagsterInstance) -> None:
    instance.add_dynamic_partitions(DATA_VERSIONS, [f"v{number}" for number in range(500)])
    instance.add_dynamic_partitions(ENTITIES, [f"e{number}" for number in range(1500)])
    for number in range(0, 500, 10):
        tags = {"dagster/partition/data_version": f"v{number}"}
        instance.add_run(DagsterRun("aggregate_revenue", tags=tags, status=DagsterRunStatus.SUCCESS))
    delisting = Delisting(instance, [action.output for action in registry()], keep=10)
    marks = delisting.run(Marks()).marks
    seconds: list[float] = []
    while keys(instance, ENTITIES) and len(seconds) < 20:
        began = time.process_time()
        found = delisting.run(marks)
        seconds.append(time.process_time() - began)
        marks = found.marks
        for name, gone in found.delisted.items():
            for key in gone:
                instance.delete_dynamic_partition(name, key)
    assert keys(instance) == {f"v{number}" for number in range(400, 500, 10)}
    assert keys(instance, ENTITIES) == set()
    # Of this process, however busy the machine is: a pass has 60 s in all and stops to look after its budget.
    assert max(seconds) < 2 * BUDGET_SECONDS
