"""The chart, rendered: its objects, the pods they make (a run's and an executor's too), and who may talk to whom."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from dagster._config import process_config

from orchestration.k8s import CONFIG_TAG
from orchestration.rendering import tagged_job
from tests.test_architecture import ROOT

CHART = ROOT / "deploy" / "chart"
VALUES = Path(__file__).parent / "values"
FULL = ("--values", str(VALUES / "full.yaml"))
RELEASE = "mill"
COMPONENT = "app.kubernetes.io/component"
HELM_TESTS = {"doctor": "worker", "doctor-sensor": "code", "doctor-cluster": "daemon"}
"""Pods of `helm test`, in their order → the component as which the network treats them."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "full": FULL,
    "one api, no s3 key": ("--set", "api.replicas=1,s3.control.credentials.secret=,s3.compute.credentials.secret="),
    "open network": ("--set", "networkPolicy.enabled=false", "--set", "readOnlyWebserver.enabled=true"),
}
_KUBERNETES = "1.34.0"  # what `helm template` is to take the cluster for; no cluster is asked

Manifest = dict[str, Any]
Objects = list[Manifest]


class CommandError(AssertionError):
    """A command failed; carries what it said."""


def run(*command: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command and return what it said. Raises CommandError when it failed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=330)
    if done.returncode != 0:
        raise CommandError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done


def render(*options: str, namespace: str = "mills", release: str = RELEASE, chart: Path = CHART) -> Objects:
    """Return the chart's objects, hooks included. Raises CommandError with Helm's words."""
    command = ("helm", "template", release, str(chart), "--namespace", namespace, "--kube-version", _KUBERNETES)
    return [found for found in yaml.safe_load_all(run(*command, *options).stdout) if found]


def named(objects: Iterable[Manifest], kind: str, suffix: str) -> Manifest:
    """Return the one object of this kind and name. Raises StopIteration when there is none."""
    return next(
        found for found in objects if (found["kind"], found["metadata"]["name"]) == (kind, f"{RELEASE}-{suffix}")
    )


def file_of(objects: Iterable[Manifest], config_map: str, key: str) -> Manifest:
    """Return a YAML file that lies in a ConfigMap."""
    content: Manifest = yaml.safe_load(named(objects, "ConfigMap", config_map)["data"][key])
    return content


def run_job(objects: Sequence[Manifest], config: Mapping[str, Any] | None = None) -> Manifest:
    """Return the Job that the launcher makes of a run whose tag ``dagster-k8s/config`` is ``config``.

    Raises Dagster's error when the tag holds what a run may not choose.
    """
    stated = file_of(objects, "instance", "dagster.yaml")["run_launcher"]
    launcher_class: Any = getattr(import_module(stated["module"]), stated["class"])
    cluster = {"load_incluster_config": False, "kubeconfig_file": os.environ["KUBECONFIG"]}
    checked = process_config(launcher_class.config_type(), {**stated["config"], **cluster})
    assert checked.success, checked.errors
    return tagged_job(dict(checked.value or {}), {CONFIG_TAG: json.dumps(config)} if config else {})


def executor(objects: Sequence[Manifest]) -> Manifest:
    """Return the pod that an executor becomes: the template, and what Spark adds to it."""
    pod = file_of(objects, "executor", "executor-template.yaml")
    image = named(objects, "Deployment", "code")["spec"]["template"]["spec"]["containers"][0]["image"]
    resources = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    container = pod["spec"]["containers"][0]
    resources["requests"] |= container.get("resources", {}).get("requests", {})
    container |= {"image": image, "args": ["executor"], "resources": resources}
    return pod


def pods(objects: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return component → pod (metadata and spec) for every pod that the release ever makes; Helm's tests by name."""
    templates = [found["spec"]["template"] for found in objects if found["kind"] in {"Deployment", "Job"}]
    templates += [run_job(objects)["spec"]["template"], executor(objects)]
    tests = {
        found["metadata"]["name"].removeprefix(f"{RELEASE}-"): found for found in objects if found["kind"] == "Pod"
    }
    return {pod["metadata"]["labels"][COMPONENT]: pod for pod in templates} | tests


def containers(pod: Manifest) -> list[Manifest]:
    """Return all containers of a pod."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(container: Manifest) -> dict[str, Manifest]:
    """Return a container's variables by name."""
    return {entry["name"]: entry for entry in container.get("env", [])}
