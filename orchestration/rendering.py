"""What a profile yields, for people to read: the Job as Dagster would create it, and the same run for spark-submit."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from dagster import DagsterRun
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient
from pydantic import SecretStr

from assets.profiles import load_profiles
from contracts.messages import Profile
from contracts.problems import LakemillError
from orchestration.k8s import pod_variables, run_tags, spark_settings
from resources.cluster.port import Pod
from resources.settings import ComputeSettings
from resources.spark.session import spark_config
from resources.spark.storage import access_settings

_RUN_ID = "00000000-0000-0000-0000-000000000000"
_POD_NAME = f"dagster-run-{_RUN_ID}-xxxxx"
_DEFAULTS: Mapping[str, Any] = {
    "image_pull_policy": None,
    "image_pull_secrets": [],
    "env_config_maps": [],
    "env_secrets": [],
    "env_vars": [],
    "volume_mounts": [],
    "volumes": [],
    "labels": {},
    "resources": {},
    "scheduler_name": None,
    "security_context": {},
    "run_k8s_config": {},
    "postgres_password_secret": None,
    "only_allow_user_defined_k8s_config_fields": None,
    "only_allow_user_defined_env_vars": None,
}


class NoClusterLauncherError(LakemillError):
    """The file configures no launcher of runs on Kubernetes. Name a dagster.yaml that does."""


def launcher_config(dagster_yaml: Path) -> dict[str, Any]:
    """Return the run launcher's configuration. Raises NoClusterLauncherError."""
    try:
        found: dict[str, Any] = yaml.safe_load(dagster_yaml.read_text())["run_launcher"]["config"]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise NoClusterLauncherError(f"{dagster_yaml}: no run_launcher with a config ({error})") from error
    if "job_image" not in found:
        raise NoClusterLauncherError(f"{dagster_yaml}: the run launcher has no job_image")
    return found


def run_job(profile: Profile, config: Mapping[str, Any], image: str | None = None) -> dict[str, Any]:
    """Return the Job (as JSON) of a run with ``profile``, made by dagster-k8s from the launcher's ``config``."""
    return tagged_job(config, run_tags(profile, image))


def tagged_job(config: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the Job (as JSON) of a run with these tags.

    Raises what dagster-k8s raises when they hold what the launcher's ``config`` does not let a run choose.
    """
    launcher: Any = SimpleNamespace(**{**_DEFAULTS, **config})
    run = DagsterRun(job_name="action", run_id=_RUN_ID, tags=tags)
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
    context = context.merge(K8sContainerContext(env_vars=pod_variables(tags, load_profiles().values())))
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(job_image=None, run_launcher=launcher),
        args=["dagster", "api", "execute_run", "…"],
        job_name=f"dagster-run-{_RUN_ID}",
        user_defined_k8s_config=context.run_k8s_config,
        component="run_worker",
        labels={"dagster/run-id": _RUN_ID},
    )
    rendered: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return rendered


def spark_submit(profile: Profile, config: Mapping[str, Any], image: str | None = None) -> list[str]:
    """Return the arguments with which spark-submit would start the same driver, in the same pod.

    Keys of the object store come from the pod's environment.
    """
    environment = _env(config)
    settings = ComputeSettings(
        internal_secret=SecretStr("rendering-needs-no-secret"),
        spark_master="k8s://https://kubernetes.default.svc",
        pod_name=_POD_NAME,
        pod_namespace=config.get("job_namespace", "default"),
        pod_ip="$(LAKEMILL_POD_IP)",
        executor_service_account=environment.get("LAKEMILL_EXECUTOR_SERVICE_ACCOUNT", "default"),
        s3_endpoint=environment.get("LAKEMILL_S3_ENDPOINT"),
        s3_region=environment.get("LAKEMILL_S3_REGION", "us-east-1"),
        jars_dir=Path("/opt/lakemill/jars/spark"),
        spark_archive=None,  # not this machine's: the environment of a local stack would name one
    )
    pod = Pod(
        _POD_NAME,
        "Running",
        image or config["job_image"],
        config.get("image_pull_policy") or "IfNotPresent",
        tuple(each["name"] for each in config.get("image_pull_secrets") or ()),
    )
    outside = spark_settings(profile, pod, settings) if profile.executor_instances else {}
    access = {f"spark.hadoop.{name}": value for name, value in access_settings(settings).items()}
    conf = spark_config(settings, profile, Path("/var/lakemill/spark/lakemill-spark")) | access | outside
    return ["--master", conf.pop("spark.master"), *(f"--conf={name}={value}" for name, value in sorted(conf.items()))]


def _env(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the plain variables that the launcher gives a run's container."""
    stated = config.get("run_k8s_config", {}).get("container_config", {}).get("env", [])
    return {each["name"]: each["value"] for each in stated if "value" in each}
