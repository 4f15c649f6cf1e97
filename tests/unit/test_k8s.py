"""What a profile yields: the run's Job as dagster-k8s builds it, Spark's settings, and the files that show both."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from assets.profiles import load_profiles
from cli.main import app
from contracts.messages import Profile
from contracts.reports import MAX_RUN_SECONDS
from orchestration.k8s import (
    ALLOWED_FIELDS,
    CONFIG_TAG,
    driver_size,
    executor_pod,
    executor_size,
    pod_variables,
    run_tags,
    spark_settings,
)
from orchestration.launcher import LakemillRunLauncher
from orchestration.rendering import NoClusterLauncherError, launcher_config, run_job
from resources.cluster.port import Pod
from resources.settings import ComputeSettings

TEMPLATE = Path(__file__).parent.parent.parent / "deploy" / "templates" / "spark-on-kubernetes"
PROFILE = Profile(driver_cores=2, driver_memory="2g", executor_instances=3, executor_cores=4, executor_memory="8g")
OWN = Pod(
    "dagster-run-0d6e0f4e-6f3c-4a53-9d0b-1d8f3a0c7a11-abcde", "Running", "registry/compute:9", "Always", ("pull",)
)
SETTINGS = ComputeSettings(
    internal_secret=SecretStr("internal-secret-of-the-tests"),
    spark_master="k8s://https://kubernetes.default.svc",
    pod_name=OWN.name,
    pod_namespace="lakemill",
    pod_ip="10.1.2.3",
    executor_service_account="lakemill-executor",
)


def job(profile: Profile = PROFILE, image: str | None = None) -> Any:
    return run_job(profile, launcher_config(TEMPLATE / "dagster.yaml"), image)


def test_the_pod_asks_for_what_driver_and_python_need() -> None:
    assert driver_size(PROFILE).memory_mb == 2048 + 384 + 768
    assert executor_size(PROFILE).memory_mb == 8192 + 819
    container = job()["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "3200Mi"}, "limits": {"memory": "3200Mi"}}


def test_a_cpu_request_is_apart_from_sparks_cores() -> None:
    frugal = Profile(**{**PROFILE.model_dump(), "cpu_request": "250m"})
    assert job(frugal)["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "250m"
    settings = spark_settings(frugal, OWN, SETTINGS)
    assert settings["spark.kubernetes.executor.request.cores"] == "250m"
    assert settings["spark.executor.cores"] == "4"


def test_the_pod_is_told_for_which_profile_spark_may_start_at_once() -> None:
    medium = load_profiles()["medium"]
    container = job(medium)["spec"]["template"]["spec"]["containers"][0]
    (told,) = [each["value"] for each in container["env"] if each["name"] == "LAKEMILL_RUN_PROFILE"]
    assert Profile.model_validate_json(told) == medium
    assert pod_variables(run_tags(PROFILE), [medium]) == []  # anybody may set a run's tags
    assert pod_variables({}, [medium]) == []


def test_the_job_is_what_a_restricted_namespace_takes() -> None:
    spec = job()["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert (spec["backoffLimit"], pod["restartPolicy"]) == (0, "Never")  # one retry engine, and it is not Kubernetes'
    assert spec["activeDeadlineSeconds"] < MAX_RUN_SECONDS  # it is told as run_timed_out; Dagster's own limit is not
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["serviceAccountName"] == "lakemill-run"


def test_an_image_replaces_the_usual_one() -> None:
    assert job(image="registry/geo:1")["spec"]["template"]["spec"]["containers"][0]["image"] == "registry/geo:1"
    assert job()["spec"]["template"]["spec"]["containers"][0]["image"] == "lakemill-compute:0.1.0"


def test_a_run_says_no_more_of_its_pod_than_is_allowed() -> None:
    config = launcher_config(TEMPLATE / "dagster.yaml")
    assert config["only_allow_user_defined_k8s_config_fields"] == ALLOWED_FIELDS
    said = json.loads(run_tags(PROFILE, "registry/geo:1")[CONFIG_TAG])
    assert {name: set(fields) for name, fields in said.items()} == {
        name: set(fields) for name, fields in ALLOWED_FIELDS.items()
    }
    with pytest.raises(Exception, match=r"container_config\.resources"):
        run_job(PROFILE, {**config, "only_allow_user_defined_k8s_config_fields": {"container_config": {"image": True}}})


def test_the_driver_and_its_executors_find_each_other_and_trust_nobody_else() -> None:
    settings = spark_settings(PROFILE, OWN, SETTINGS)
    assert (
        settings.items()
        >= {
            "spark.driver.host": "10.1.2.3",
            "spark.driver.port": "7078",
            "spark.blockManager.port": "7079",
            "spark.kubernetes.driver.pod.name": OWN.name,
            "spark.kubernetes.namespace": "lakemill",
            "spark.kubernetes.container.image": "registry/compute:9",
            "spark.kubernetes.container.image.pullSecrets": "pull",
            "spark.executor.instances": "3",
            "spark.executor.memory": "8192m",
            "spark.authenticate": "true",
            "spark.network.crypto.enabled": "true",
            "spark.decommission.enabled": "true",
        }.items()
    )
    assert not [name for name in settings if "secret" in name.lower() and "pull" not in name.lower()]


def test_what_the_template_asks_of_a_node_is_asked_in_the_dry_run_too(tmp_path: Path) -> None:
    template = yaml.safe_load((TEMPLATE / "executor-template.yaml").read_text())
    template["spec"]["containers"][0]["resources"] = {"requests": {"ephemeral-storage": "5Gi"}}
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(template))
    settings = SETTINGS.model_copy(update={"executor_template": tmp_path / "template.yaml"})
    (container,) = executor_pod(PROFILE, OWN, settings)["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"ephemeral-storage": "5Gi", **executor_size(PROFILE).requirements()["requests"]},
        "limits": executor_size(PROFILE).requirements()["limits"],
    }


def test_no_two_pods_share_the_names_of_their_executors() -> None:
    prefixes = {
        spark_settings(PROFILE, Pod(f"{OWN.name[:-5]}{suffix}", "Running", "i"), SETTINGS)[
            "spark.kubernetes.executor.podNamePrefix"
        ]
        for suffix in ("abcde", "fghij")
    }
    assert len(prefixes) == 2
    assert all(len(prefix) <= 47 and prefix[0].isalpha() for prefix in prefixes)


def test_executors_come_and_go_where_the_profile_says_so() -> None:
    settings = spark_settings(Profile(executor_instances=8, min_executors=1), OWN, SETTINGS)
    assert settings["spark.dynamicAllocation.enabled"] == "true"
    assert (
        settings["spark.dynamicAllocation.minExecutors"],
        settings["spark.dynamicAllocation.maxExecutors"],
    ) == ("1", "8")
    assert "spark.executor.instances" not in settings
    with pytest.raises(ValidationError, match="at most executor_instances"):
        Profile(executor_instances=1, min_executors=2)


def test_what_is_rendered_has_not_drifted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "spark.jsa").touch()  # a class archive of this machine must not show
    monkeypatch.setenv("LAKEMILL_SPARK_ARCHIVE", str(tmp_path / "spark.jsa"))
    shown = CliRunner().invoke(app, ["render", "medium", "--dagster-home", str(TEMPLATE)])
    assert shown.exit_code == 0, shown.output
    assert shown.output == (TEMPLATE / "medium.yaml").read_text(), "lakemill render medium > …/medium.yaml"
    assert yaml.safe_load(shown.output.partition("---")[0]) == job(load_profiles()["medium"])


def test_the_template_configures_the_launcher_that_it_names() -> None:
    launcher: Any = LakemillRunLauncher
    checked = process_config(launcher.config_type(), launcher_config(TEMPLATE / "dagster.yaml"))
    assert checked.success, checked.errors
    executor = yaml.safe_load((TEMPLATE / "executor-template.yaml").read_text())["spec"]
    driver = job()["spec"]["template"]["spec"]
    assert executor["securityContext"] == driver["securityContext"]
    assert executor["containers"][0]["securityContext"] == driver["containers"][0]["securityContext"]
    assert executor["automountServiceAccountToken"] is False


def test_rendering_needs_a_launcher_and_a_profile(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.raises(NoClusterLauncherError, match="run_launcher"):
        launcher_config(tmp_path / "dagster.yaml")
    elsewhere = CliRunner().invoke(app, ["render", "medium", "--dagster-home", str(tmp_path / "bare-image")])
    assert "bare-image: run this in a pod of the release" in elsewhere.output
    assert CliRunner().invoke(app, ["render", "huge"]).exit_code == 2
    assert CliRunner().invoke(app, ["render", "small", "--image", "geo"]).exit_code == 2
