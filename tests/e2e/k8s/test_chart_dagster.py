"""Dagster's configuration in the chart, and the Jobs and executors of runs that come of it."""

from pathlib import Path

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_aws.s3 import S3ComputeLogManager

from assets.profiles import load_profiles
from contracts.reports import MAX_RUN_SECONDS
from orchestration.k8s import ALLOWED_FIELDS, BLOCK_MANAGER_PORT, DRIVER_PORT, driver_size, job_config
from orchestration.storage import PooledPostgresStorage
from tests.e2e.k8s.helm import CHART, Objects, containers, executor, file_of, pods, render, run_job

pytestmark = pytest.mark.k8s


def test_dagster_takes_its_configuration(full: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://nobody@nowhere/none")
    monkeypatch.setenv("DAGSTER_KEEP_CONNECTIONS", "10")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for config_map in ("instance", "instance-no-launcher"):
        content = file_of(full, config_map, "dagster.yaml")
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(content))
        ref = InstanceRef.from_dir(str(tmp_path))
        assert ref.run_coordinator_data is not None
        assert isinstance(ref.run_coordinator_data.rehydrate(as_type=QueuedRunCoordinator), QueuedRunCoordinator)
        assert isinstance(ref.compute_logs_data.rehydrate(as_type=S3ComputeLogManager), S3ComputeLogManager)
        storage = content["storage"]["custom"]["config"]
        assert process_config(PooledPostgresStorage.config_type(), storage).success
    assert "run_launcher" not in file_of(full, "instance-no-launcher", "dagster.yaml")


def test_a_run_chooses_its_size_its_image_and_its_deadline_only(full: Objects) -> None:
    profile = load_profiles(CHART.parent / "profiles.toml")["medium"]
    job = run_job(full, job_config(profile, "geo:4"))["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert (container["resources"], container["image"]) == (driver_size(profile).requirements(), "geo:4")
    assert job["activeDeadlineSeconds"] < MAX_RUN_SECONDS
    assert (job["ttlSecondsAfterFinished"], job["backoffLimit"]) == (60, 0)
    for forbidden in (
        {"pod_spec_config": {"host_network": True}},
        {"pod_spec_config": {"service_account_name": "mill-launcher"}},
        {"container_config": {"env": [{"name": "LD_PRELOAD", "value": "x"}]}},
    ):
        with pytest.raises(Exception, match="violated the allowed list"):
            run_job(full, forbidden)


def test_a_run_without_tags_has_a_limit_of_time_and_room_for_a_driver(variant: Objects) -> None:
    profile = load_profiles(CHART.parent / "profiles.toml")["medium"]
    monitoring = file_of(variant, "instance", "dagster.yaml")["run_monitoring"]
    assert monitoring["max_runtime_seconds"] == MAX_RUN_SECONDS
    untagged, tagged = run_job(variant)["spec"], run_job(variant, job_config(profile))["spec"]
    assert untagged["activeDeadlineSeconds"] == tagged["activeDeadlineSeconds"] < MAX_RUN_SECONDS
    resources = untagged["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"memory": resources["requests"]["memory"]}


def test_the_template_without_the_chart_sets_the_same_limits(full: Objects) -> None:
    template = yaml.safe_load((CHART.parent / "templates" / "spark-on-kubernetes" / "dagster.yaml").read_text())
    charts = file_of(full, "instance", "dagster.yaml")
    assert template["run_monitoring"].keys() == charts["run_monitoring"].keys()
    assert template["run_monitoring"]["max_runtime_seconds"] == MAX_RUN_SECONDS
    deadlines = [
        stated["run_launcher"]["config"]["run_k8s_config"]["job_spec_config"]["active_deadline_seconds"]
        for stated in (template, charts)
    ]
    assert deadlines[0] == deadlines[1]


def test_the_default_run_has_the_memory_of_medium() -> None:
    medium = driver_size(load_profiles(CHART.parent / "profiles.toml")["medium"]).requirements()
    resources = run_job(render())["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (resources["requests"]["memory"], resources["limits"]) == (medium["requests"]["memory"], medium["limits"])
    chosen = run_job(render("--set", "run.resources.limits.memory=4Gi"))["spec"]["template"]["spec"]["containers"][0]
    assert chosen["resources"]["limits"] == {"memory": "4Gi"}


def test_runs_and_executors_may_be_important_and_ask_for_disk() -> None:
    settings = "run.priorityClassName=high,executor.priorityClassName=low,launching.scratchRequest=5Gi"
    objects = render("--set", settings)
    profile = load_profiles(CHART.parent / "profiles.toml")["medium"]
    run_pod, executor_pod = run_job(objects, job_config(profile))["spec"]["template"], executor(objects)
    assert [pod["spec"]["priorityClassName"] for pod in (run_pod, executor_pod)] == ["high", "low"]
    for pod in (run_pod, executor_pod):
        assert containers(pod)[0]["resources"]["requests"]["ephemeral-storage"] == "5Gi"
    assert not [name for name, pod in pods(render()).items() if "priorityClassName" in pod["spec"]]


def test_the_launcher_and_the_network_agree_with_the_code(full: Objects) -> None:
    launcher = file_of(full, "instance", "dagster.yaml")["run_launcher"]["config"]
    assert launcher["only_allow_user_defined_k8s_config_fields"] == ALLOWED_FIELDS
    assert launcher["only_allow_user_defined_env_vars"] == []
    inside = yaml.safe_load((CHART / "network.yaml").read_text())["inside"]
    ports = {(line["to"], tuple(line["ports"])) for line in inside if "executor" in line["from"]}
    assert ports == {("run", (DRIVER_PORT, BLOCK_MANAGER_PORT)), ("executor", (BLOCK_MANAGER_PORT,))}
