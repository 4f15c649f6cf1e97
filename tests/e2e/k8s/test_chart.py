"""The chart as Helm renders it and as a real API server takes it."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from cli.chart_docs import WITHOUT_RIGHTS
from cli.doctor.check import Group
from tests.e2e.k8s.helm import (
    CHART,
    FULL,
    RELEASE,
    VARIANTS,
    CommandError,
    Manifest,
    containers,
    environment,
    file_of,
    pods,
    render,
    run,
    run_job,
)
from tests.e2e.k8s.rules import violations

pytestmark = pytest.mark.k8s

SERVING = {"api", "worker", "code", "webserver", "webserver-read-only"}
WITH_TOKEN = {"daemon", "webserver", "run", "doctor-cluster"}
Objects = list[Manifest]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Objects:
    return render(*VARIANTS[request.param])


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """Yield a namespace that enforces Pod Security ``restricted``, with the chart's service accounts in it."""
    name = f"chart-test-{uuid4().hex[:8]}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    run("kubectl", "create", "-f", "-", stdin=yaml.safe_dump(made))
    try:
        run("kubectl", "-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        accounts = [found for found in render(namespace=name) if found["kind"] == "ServiceAccount"]
        run("kubectl", "-n", name, "apply", "-f", "-", stdin=yaml.safe_dump_all(accounts))
        yield name
    finally:
        run("kubectl", "delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_helm_finds_nothing_to_blame(options: Sequence[str]) -> None:
    assert "0 chart(s) failed" in run("helm", "lint", "--strict", str(CHART), *options).stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("api.replica=3", "'replica' not allowed"),
        ("images.control.tag=latest", "/images/control/tag"),
        ("kafka.securityProtocol=TLS", "/kafka/securityProtocol"),
        ("run.podLabels.app\\.kubernetes\\.io/component=api", "invalid propertyName"),
        ("s3.control.webIdentity.roleArn=arn", "s3.control: a key or web identity, not both"),
        ("s3.compute.webIdentity.roleArn=arn", "s3.compute: a key or web identity, not both"),
        ("readOnlyWebserver.url=dagster.example.com", "/readOnlyWebserver/url"),
        ("networkPolicy.to.s3.cidrs=null", "missing property 'cidrs'"),
        ("networkPolicy.to.s3.cidrs={10.0.0.0/33}", "10.0.0.0/33 is not a network"),
        ("networkPolicy.to.s3.cidrs={::ffff:169.254.169.254/128}", "/networkPolicy/to/s3/cidrs/0"),
        ("networkPolicy.dns=null", "missing property 'dns'"),
        ("networkPolicy.to.s3.cidrs={169.254.0.0/16}", "cloud's metadata"),
        ("networkPolicy.to.s3.cidrs={fd00:ec2::/32}", "cloud's metadata"),
        ("networkPolicy.to.s3.cidrs={FD00:EC2::254/128}", "cloud's metadata"),
        ("callbacks.allow={169.254.169.254/32}", "cloud's metadata"),
        ("callbacks.allow={169.254.170.2/32}", "cloud's metadata"),
        ("callbacks.allow={100.100.100.200/32}", "cloud's metadata"),
        ("callbacks.allow={168.63.129.16/32}", "cloud's metadata"),
        ("callbacks.allow={fd20:ce:0:0::254/128}", "cloud's metadata"),
        ("callbacks.allow={64:ff9b:0::A9FE:a9fe/128}", "cloud's metadata"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting: str, words: str) -> None:
    with pytest.raises(CommandError) as refused:
        render("--set", setting)
    assert words in str(refused.value)


def test_no_list_of_networks_is_empty_which_would_mean_everywhere() -> None:
    with pytest.raises(CommandError, match=r"networkPolicy/to/s3/cidrs': minItems"):
        render("--set-json", "networkPolicy.to.s3.cidrs=[]")
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert [found for found in _references(schema) if len(found) > 1] == []  # older Helms read nothing beside a $ref


def _references(schema: Any) -> Iterator[Manifest]:
    if isinstance(schema, dict):
        yield from [schema] if "$ref" in schema else []
        for below in schema.values():
            yield from _references(below)


def test_every_pod_is_restricted_and_asks_for_resources(variant: Objects) -> None:
    for component, pod in pods(variant).items():
        assert list(violations(pod)) == [], component
        assert pod["spec"].get("enableServiceLinks") is False, component
        for container in containers(pod):
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, component
            assert re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"]), component
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}, component
            assert "tmp" in mounts


def test_every_config_map_that_a_pod_mounts_is_made(variant: Objects) -> None:
    made = {found["metadata"]["name"]: found["data"] for found in variant if found["kind"] == "ConfigMap"}
    for component, pod in pods(variant).items():
        sources = {
            volume["name"]: volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume
        }
        assert set(sources.values()) <= made.keys(), component
        for mount in (mount for container in containers(pod) for mount in container["volumeMounts"]):
            if "subPath" in mount:
                assert mount["subPath"] in made[sources[mount["name"]]], component


def test_what_serves_is_probed(variant: Objects) -> None:
    found = {component: pod["spec"]["containers"][0] for component, pod in pods(variant).items()}
    serving = SERVING & found.keys()
    assert serving >= SERVING - {"webserver-read-only"}
    for component in serving:
        assert found[component].keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}, component
    assert [name for name, container in found.items() if container.get("ports") and name not in SERVING] == []


def test_the_daemon_s_probe_looks_at_heartbeats_and_needs_no_cluster(tmp_path: Path) -> None:
    objects = render()
    storage = {"sqlite": {"base_dir": str(tmp_path)}}
    instance = file_of(objects, "instance", "dagster.yaml") | {"storage": storage}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance))
    probe = pods(objects)["daemon"]["spec"]["containers"][0]["livenessProbe"]["exec"]["command"]
    with pytest.raises(CommandError, match=re.escape("Daemon(s) not running")):  # for nobody has had a heartbeat
        run("env", f"DAGSTER_HOME={tmp_path}", str(Path(sys.executable).parent / probe[0]), *probe[1:])


def test_tokens_are_for_those_who_ask_the_cluster(variant: Objects) -> None:
    rights = {found["metadata"]["name"] for found in variant if found["kind"] == "RoleBinding"}
    for component, pod in pods(variant).items():
        has_token = pod["spec"]["automountServiceAccountToken"]
        assert has_token is (component in WITH_TOKEN), component
        assert (pod["spec"]["serviceAccountName"] in rights) is has_token, component
    accounts = {found["metadata"]["name"]: found for found in variant if found["kind"] == "ServiceAccount"}
    assert accounts.keys() == rights | {f"{RELEASE}-{name}" for name in WITHOUT_RIGHTS}
    assert all(found["automountServiceAccountToken"] is (name in rights) for name, found in accounts.items())
    assert not any(found["kind"].startswith("Cluster") for found in variant)


def test_the_helm_test_asks_every_group_but_callbacks_which_need_a_receiver(variant: Objects) -> None:
    tests = [found for found in variant if found["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    asked = {found["spec"]["serviceAccountName"]: found["spec"]["containers"][0]["args"] for found in tests}
    groups = {name: {word for word in args if word.startswith("--only=")} for name, args in asked.items()}
    storage = {f"--only={Group.STORAGE}"}  # by each plane with its own key
    as_launcher = {f"--only={group}" for group in (Group.CLUSTER, Group.IMAGES)}
    others = {f"--only={group}" for group in set(Group) - {Group.CALLBACKS}} - as_launcher
    assert groups == {f"{RELEASE}-launcher": as_launcher | storage, f"{RELEASE}-control": others | storage}


def test_roles_are_the_rights_in_the_file() -> None:
    full = render(*FULL)
    stated = yaml.safe_load((CHART / "rbac.yaml").read_text())
    roles = {found["metadata"]["name"]: found["rules"] for found in full if found["kind"] == "Role"}
    assert roles == {f"{RELEASE}-{account}": rules for account, rules in stated.items()}


def test_secrets_come_by_reference(variant: Objects) -> None:
    assert not [found for found in variant if found["kind"] == "Secret"]
    secret = re.compile(r"SECRET|PASSWORD|ACCESS_KEY|DATABASE_URL|POSTGRES_URL")
    seen: set[str] = set()
    for pod in pods(variant).values():
        for container in containers(pod):
            for name, entry in environment(container).items():
                if secret.search(name):
                    seen.add(name)
                    assert entry["valueFrom"].keys() == {"secretKeyRef"}, name
    assert seen >= {"LAKEMILL_INTERNAL_SECRET", "LAKEMILL_DATABASE_URL", "DAGSTER_POSTGRES_URL"}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_api_server_takes_every_object_without_a_warning(options: Sequence[str], namespace: str) -> None:
    objects = [*render(*options, namespace=namespace), run_job(render(*options, namespace=namespace))]
    done = run("kubectl", "-n", namespace, "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert done.stderr == ""
    assert done.stdout.count("(server dry run)") == len(objects)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_api_server_takes_every_pod_where_restricted_is_enforced(options: Sequence[str], namespace: str) -> None:
    made = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**pod["metadata"], "name": f"{RELEASE}-{component}"},
            "spec": pod["spec"],
        }
        for component, pod in pods(render(*options, namespace=namespace)).items()
    ]
    assert len(made) >= 9
    done = run("kubectl", "-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(made))
    assert done.stderr == ""
    made[0]["spec"] = {**made[0]["spec"], "hostNetwork": True}
    with pytest.raises(CommandError, match="violates PodSecurity"):
        run("kubectl", "-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(made[0]))
