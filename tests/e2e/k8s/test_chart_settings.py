"""What the pods of the chart are told: variables, files, Dagster's configuration, the order of the hooks."""

from pathlib import Path

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_aws.s3 import S3ComputeLogManager

from assets.profiles import load_profiles
from orchestration.k8s import ALLOWED_FIELDS, BLOCK_MANAGER_PORT, DRIVER_PORT, MAX_RUN_SECONDS, driver_size, job_config
from orchestration.storage import PooledPostgresStorage
from resources.settings import ComputeSettings, ControlSettings
from tests.e2e.k8s.helm import (
    CHART,
    COMPONENT,
    FULL,
    HELM_TESTS,
    VARIANTS,
    Manifest,
    containers,
    environment,
    executor,
    file_of,
    named,
    pods,
    render,
    run_job,
)

pytestmark = pytest.mark.k8s

Objects = list[Manifest]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Objects:
    return render(*VARIANTS[request.param])


@pytest.fixture(scope="module")
def full() -> Objects:
    return render(*FULL)


def test_every_variable_is_a_setting_and_none_is_missing(variant: Objects) -> None:
    fields = {f"LAKEMILL_{name.upper()}" for name in ControlSettings.model_fields | ComputeSettings.model_fields}
    for component, pod in pods(variant).items():
        for container in containers(pod):
            variables = environment(container)
            assert len(variables) == len(container.get("env", [])), f"{component}: a variable is set twice"
            assert {name for name in variables if name.startswith("LAKEMILL_")} <= fields, component
            if component not in {"executor", "dagster-tables"}:  # which read no setting of ours
                model = ControlSettings if "control" in container["image"] else ComputeSettings
                required = {f"LAKEMILL_{name.upper()}" for name, f in model.model_fields.items() if f.is_required()}
                assert variables.keys() >= required, component


def test_a_large_number_stays_one(tmp_path: Path) -> None:
    numbers = {"limits": {"maxInFlight": 2_000_000}, "launching": {"jobTtlSeconds": 3_000_000, "pollSeconds": 7.5}}
    (tmp_path / "numbers.yaml").write_text(yaml.safe_dump(numbers))  # not --set, which gives integers
    objects = render("--values", str(tmp_path / "numbers.yaml"))
    found = pods(objects)
    assert environment(containers(found["worker"])[0])["LAKEMILL_MAX_IN_FLIGHT"]["value"] == "2000000"
    assert environment(containers(found["code"])[0])["LAKEMILL_POLL_SECONDS"]["value"] == "7.5"
    assert run_job(objects)["spec"]["ttlSecondsAfterFinished"] == 3000000


def test_both_planes_get_the_same_permit(full: Objects) -> None:
    found = {name: environment(containers(pod)[0]).get("LAKEMILL_PERMIT_SECONDS") for name, pod in pods(full).items()}
    assert {name: entry["value"] for name, entry in found.items() if entry} == dict.fromkeys(
        ("api", "worker", "code", "daemon", "webserver", "webserver-read-only", "run", *HELM_TESTS), "60"
    )


def test_certificates_and_tokens_lie_where_the_settings_say(full: Objects) -> None:
    for component, pod in pods(full).items():
        for container in containers(pod):
            variables = environment(container)
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            for name in (
                "PGSSLROOTCERT",
                "LAKEMILL_KAFKA_CA_FILE",
                "LAKEMILL_S3_CA_FILE",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
            ):
                if name in variables:
                    assert str(Path(variables[name]["value"]).parent) in mounts, (component, name)
            assert "LAKEMILL_S3_ACCESS_KEY" not in variables
            has_token = "s3-token" in {mount["name"] for mount in container["volumeMounts"]}
            region = variables.get("AWS_REGION", {}).get("value")  # what Java reads, in executors too
            assert ("AWS_ROLE_ARN" in variables, region == "eu-central-1") == (has_token, has_token), component
    assert "AWS_ROLE_ARN" in environment(containers(pods(full)["executor"])[0])


def test_every_container_gets_the_extra_environment_executors_too(full: Objects) -> None:
    for component, pod in pods(full).items():
        for container in containers(pod):
            assert environment(container)["NO_PROXY"]["value"] == ".example.com", component


def test_links_to_runs_lead_where_people_look(full: Objects) -> None:
    def told(objects: Objects) -> dict[str, str]:
        variables = {name: environment(containers(pod)[0]) for name, pod in pods(objects).items()}
        name = "LAKEMILL_DAGSTER_UI_URL"
        return {component: found[name]["value"] for component, found in variables.items() if name in found}

    assert told(full) == dict.fromkeys(("api", "worker", "migrate", "doctor"), "https://dagster.example.com")
    assert told(render()) == {}


def test_the_first_hook_needs_nothing_of_the_release(full: Objects) -> None:
    job = named(full, "Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "default"
    assert not [volume for volume in spec["volumes"] if "configMap" in volume]
    assert [container["args"] for container in [*spec["initContainers"], *spec["containers"]]] == [
        ["python", "-m", "control.migrate"],
        ["lakemill", "topics", "ensure", "--partitions=12", "--replication-factor=2"],
    ]


def test_the_last_hooks_migrate_dagster_then_publish_and_publish_again_after_a_rollback(full: Objects) -> None:
    tables, publish = (named(full, "Job", name) for name in ("dagster-tables", "publish"))
    when, order = (
        [job["metadata"]["annotations"][f"helm.sh/hook{key}"] for job in (tables, publish)] for key in ("", "-weight")
    )
    assert when == ["post-install,post-upgrade", "post-install,post-upgrade,post-rollback"]
    assert int(order[0]) < int(order[1])
    assert [containers(job["spec"]["template"])[0]["args"] for job in (tables, publish)] == [
        ["dagster", "instance", "migrate"],
        ["lakemill", "actions", "publish"],
    ]


@pytest.mark.parametrize(
    ("setting", "rolled"),
    [
        ("profiles=[x]", {"code"}),
        ("actionImages=[images]", {"code"}),
        ("launching.maxConcurrentRuns=7", {"code", "daemon", "webserver", "webserver-read-only"}),
        ("launching.jobTtlSeconds=46", {"code", "daemon", "webserver"}),
        ("executor.podLabels.a=b", set()),  # a run reads it when it starts
    ],
)
def test_pods_are_rolled_when_what_they_read_changes(setting: str, rolled: set[str], full: Objects) -> None:
    def templates(objects: Objects) -> dict[str, Manifest]:
        return {
            found["metadata"]["labels"][COMPONENT]: found["spec"]["template"]
            for found in objects
            if found["kind"] == "Deployment"
        }

    before, after = templates(full), templates(render(*FULL, "--set", setting))
    assert {name for name in before if before[name] != after[name]} == rolled


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
