"""What the pods of the chart are told: variables, and the files that these name."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.settings import ComputeSettings, ControlSettings
from tests.e2e.k8s.helm import FULL, Objects, containers, environment, pods, render, run_job

pytestmark = pytest.mark.k8s
NAMES = (
    "executor.priorityClassName",
    "ingress.className",
    "ingress.tlsSecret",
    "internalSecret.key",
    "internalSecret.secret",
    "kafka.ca.secret",
    "kafka.sasl.compute.secret",
    "kafka.sasl.compute.usernameKey",
    "postgresql.ca.secret",
    "run.priorityClassName",
    "s3.ca.secret",
    "s3.compute.webIdentity.audience",
)
"""Values that are inserted as they are, most of them names that Kubernetes lets begin with a digit."""


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


def test_what_reads_like_a_number_a_date_or_an_alias_stays_a_string() -> None:
    odd = dict.fromkeys(NAMES, "123") | {
        "images.compute.digest": "",
        "images.compute.repository": "12",
        "images.compute.tag": "30",
        "ingress.host": "*.example.com",
        "s3.buckets.lake": "20241005",
        "s3.buckets.landing": "2024-10-05",
        "s3.buckets.logs": "20241005",
        "s3.region": "2024",
    }
    ordinary = {name: value and f"a{value}" for name, value in odd.items()}
    assert _no_strings(odd, namespace="2024", release="on") == _no_strings(ordinary, namespace="mills", release="mill")


def _no_strings(values: Mapping[str, str], *, namespace: str, release: str) -> Counter[Any]:
    sets = ",".join(f"{name}={value}" for name, value in values.items())
    objects = render(*FULL, "--set-string", sets, namespace=namespace, release=release)
    files = [file for found in objects if found["kind"] == "ConfigMap" for file in found["data"].items()]
    inner = [yaml.safe_load(text) for name, text in files if name.endswith(".yaml")]
    return Counter(leaf for leaf in _leaves([objects, inner]) if not isinstance(leaf, str))


def _leaves(content: Any) -> Iterator[Any]:
    if not isinstance(content, dict | list):
        yield content
        return
    for below in content.values() if isinstance(content, dict) else content:
        yield from _leaves(below)


def test_both_planes_get_the_same_permit(full: Objects) -> None:
    found = {name: environment(containers(pod)[0]).get("LAKEMILL_PERMIT_SECONDS") for name, pod in pods(full).items()}
    assert {name: entry["value"] for name, entry in found.items() if entry} == dict.fromkeys(
        ("api", "worker", "code", "daemon", "webserver", "webserver-read-only", "run", "doctor", "doctor-cluster"), "60"
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


def test_each_plane_logs_in_to_kafka_as_its_own_user(full: Objects) -> None:
    keys = {"LAKEMILL_KAFKA_SASL_USERNAME": "name", "LAKEMILL_KAFKA_SASL_PASSWORD": "word"}
    users = dict.fromkeys(("worker", "migrate", "doctor"), "kafka-writer")
    users |= dict.fromkeys(("code", "doctor-sensor"), "kafka-reader")
    for component, pod in pods(full).items():
        for container in containers(pod):
            variables = environment(container)
            held = {name: variables[name]["valueFrom"]["secretKeyRef"] for name in keys if name in variables}
            named = {name: {"name": users[component], "key": key} for name, key in keys.items()} if held else {}
            assert (held, bool(held)) == (named, "LAKEMILL_KAFKA_BOOTSTRAP" in variables), component


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


def test_who_starts_or_tries_an_image_knows_those_that_actions_may_name(full: Objects) -> None:
    for component in ("code", "daemon", "doctor-cluster"):
        (container,) = containers(pods(full)[component])
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts.get("/app/deploy/images.toml") == "profiles", component
    assert mounts["/etc/lakemill"] == "executor"  # doctor-cluster, the last: it tries them where executors may go
