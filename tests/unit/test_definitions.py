"""The code location as operators see it: assets, lineage, jobs, the sensor; and what loading it must not need."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import AssetKey, DefaultSensorStatus, Definitions

from assets.checks import identifiers
from assets.partitions import PARTITIONS
from assets.registry import registry
from contracts.reports import MAX_RUN_SECONDS
from orchestration.definitions import defs

ROOT = Path(__file__).parent.parent.parent
DATASETS = {
    "customer": set[str](),
    "daily_delays": {"flights"},
    "flights": set[str](),
    "lineitem": set[str](),
    "orders": set[str](),
    "revenue": {"customer", "lineitem", "orders"},
    "revenue_sql": {"customer", "lineitem", "orders"},
}
JOBS = {
    "aggregate_revenue",
    "aggregate_revenue_sql",
    "daily_delays",
    "ingest_customer",
    "ingest_flights",
    "ingest_lineitem",
    "ingest_orders",
}


def node(name: str) -> Any:
    return defs.resolve_asset_graph().get(AssetKey(name))


def test_every_dataset_is_an_asset_below_its_inputs() -> None:
    graph = defs.resolve_asset_graph()
    found = {key.to_user_string(): graph.get(key).parent_keys for key in graph.get_all_asset_keys()}
    lineage = {name: {key.to_user_string() for key in parents} for name, parents in found.items()}
    assert lineage.items() >= DATASETS.items()


@pytest.mark.parametrize("action", list(registry()), ids=lambda action: action.name)
def test_an_asset_says_what_it_is(action: Any) -> None:
    asset = node(action.output)
    assert asset.partitions_def == PARTITIONS
    assert asset.code_version == action.digest
    assert asset.description == action.description
    assert asset.metadata["action"] == action.name
    assert asset.group_name == ("landed" if action.landing_inputs else "derived")


def test_every_action_has_a_job_of_its_name_that_cannot_run_for_ever() -> None:
    jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert jobs.keys() == {action.name for action in registry()}
    assert jobs.keys() >= JOBS
    for job in jobs.values():
        assert job.tags["dagster/max_runtime"] == str(MAX_RUN_SECONDS)
        assert job.executor_def.name == "in_process"
        action = registry()[job.name]
        checks = {key.name for key in job.asset_layer.asset_graph.asset_check_keys}
        assert checks == set(identifiers(action.checks))


def test_a_run_that_operators_start_without_a_job_cannot_run_for_ever_either() -> None:
    instance = yaml.safe_load((ROOT / "deploy" / "local" / "dagster.yaml").read_text())
    assert instance["run_monitoring"]["max_runtime_seconds"] == MAX_RUN_SECONDS


def sensor_named(name: str) -> Any:
    return next(sensor for sensor in defs.sensors or () if sensor.name == name)


def test_one_sensor_runs_by_itself_and_may_start_every_job() -> None:
    sensor = sensor_named("process_requests")
    assert {target.job_name for target in sensor.targets} == {action.name for action in registry()}
    assert sensor.default_status == DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 1


def test_the_other_sensor_runs_by_itself_and_starts_nothing() -> None:
    sensor = sensor_named("delist_partitions")
    assert (sensor.targets, sensor.default_status) == ([], DefaultSensorStatus.RUNNING)
    assert sensor.minimum_interval_seconds == 600


def test_the_repository_brings_no_schedule_of_its_own() -> None:
    assert list(defs.schedules or ()) == []


def test_dagster_retries_nothing_by_itself() -> None:
    for job in defs.resolve_all_job_defs():
        assert all(each.retry_policy is None for each in job.nodes)


def test_everything_fits_together() -> None:
    Definitions.validate_loadable(defs)


def test_they_validate_with_an_empty_environment(tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "dagster"),
        "definitions",
        "validate",
        "-m",
        "orchestration.definitions",
    ]
    done = subprocess.run(
        [*command, "-d", str(ROOT)], cwd=tmp_path, env={}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_loading_them_imports_no_client_of_a_run() -> None:
    clients = {"kafka", "kubernetes", "boto3", "httpx", "pyarrow", "dagster_pyspark", "dagster_aws"}
    code = f"import sys, orchestration.definitions; print(*({clients!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
