"""Who has which credentials at the object store: each plane its own, executors never a key. And who trusts it."""

import pytest

from tests.e2e.k8s.helm import COMPONENT, FULL, Manifest, containers, environment, pods, render

pytestmark = pytest.mark.k8s

CONTROL = {"api", "worker", "doctor"}
COMPUTE = {"code", "daemon", "webserver", "webserver-read-only", "run", "doctor-cluster"}
KEYS = {"LAKEMILL_S3_ACCESS_KEY", "LAKEMILL_S3_SECRET_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
CONTROL_ROLE, COMPUTE_ROLE = (f"arn:aws:iam::123456789012:role/lakemill-{name}" for name in ("control", "run"))


def keys_of(pod: Manifest) -> set[str]:
    """Return the Secrets from which a pod has a key of the object store."""
    found: set[str] = set()
    for container in containers(pod):
        held = {name: entry for name, entry in environment(container).items() if name in KEYS}
        assert held.keys() in (set(), KEYS)
        found |= {entry["valueFrom"]["secretKeyRef"]["name"] for entry in held.values()}
    return found


def roles_of(pod: Manifest) -> set[tuple[str, str]]:
    """Return the roles that a pod takes on at the object store, each with the audience of its token."""
    tokens = [volume["projected"]["sources"][0] for volume in pod["spec"]["volumes"] if volume["name"] == "s3-token"]
    audiences = [token["serviceAccountToken"]["audience"] for token in tokens]
    variables = [environment(container).get("AWS_ROLE_ARN") for container in containers(pod)]
    return {(entry["value"], audience) for entry in variables if entry for audience in audiences}


@pytest.mark.parametrize(("control", "compute"), [("reader", "writer"), ("lakemill", "lakemill")])
def test_each_plane_has_its_own_key_or_both_the_same_and_executors_none(control: str, compute: str) -> None:
    secrets = f"s3.control.credentials.secret={control},s3.compute.credentials.secret={compute}"
    found = pods(render("--set", "readOnlyWebserver.enabled=true", "--set", secrets))
    wanted = {name: {control} for name in CONTROL} | {name: {compute} for name in COMPUTE}
    assert {name: keys_of(pod) for name, pod in found.items()} == {name: wanted.get(name, set()) for name in found}
    assert [name for name, pod in found.items() if roles_of(pod)] == []


def test_each_plane_takes_on_its_own_role() -> None:
    full = render(*FULL)
    found = pods(full)
    control, compute = {(CONTROL_ROLE, "s3.example.com")}, {(COMPUTE_ROLE, "runs.s3.example.com")}
    wanted = dict.fromkeys(CONTROL, control) | dict.fromkeys(COMPUTE | {"executor"}, compute)
    assert {name: roles_of(pod) for name, pod in found.items()} == {name: wanted.get(name, set()) for name in found}
    accounts = [account["metadata"] for account in full if account["kind"] == "ServiceAccount"]
    annotated = {account["labels"][COMPONENT]: account["annotations"] for account in accounts}
    assert {name: found["eks.amazonaws.com/role-arn"] for name, found in annotated.items()} == {
        "control": CONTROL_ROLE,
        **dict.fromkeys(("code", "executor", "launcher", "run", "webserver"), COMPUTE_ROLE),
    }


def test_one_plane_may_have_a_key_and_the_other_a_role() -> None:
    found = pods(render(*FULL, "--set", "s3.control.credentials.secret=reader,s3.control.webIdentity.roleArn="))
    assert {name for name, pod in found.items() if keys_of(pod)} == CONTROL
    assert {name for name, pod in found.items() if roles_of(pod)} == COMPUTE | {"executor"}


def test_all_who_reach_the_store_trust_its_authority_and_nobody_without_one() -> None:
    full = pods(render(*FULL))
    for component, pod in full.items():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for container in containers(pod):
            told = {name: entry.get("value") for name, entry in environment(container).items()}
            mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            # Dagster's log manager and the token exchange read no setting of ours; an executor has neither.
            names = {"LAKEMILL_S3_CA_FILE", "AWS_CA_BUNDLE"} if "LAKEMILL_LAKE_BUCKET" in told else set()
            names = {"LAKEMILL_S3_CA_FILE"} if component == "executor" else names
            held = {name: told[name] for name in ("LAKEMILL_S3_CA_FILE", "AWS_CA_BUNDLE") if name in told}
            assert held == dict.fromkeys(names, "/etc/lakemill-tls/s3/ca.pem"), component
            assert mounted.get("/etc/lakemill-tls/s3") == ("s3-ca" if names else None), component
            assert not names or volumes["s3-ca"]["secret"] == {"secretName": "s3-ca"}
    trusting = {name for name, pod in full.items() if any(v["name"] == "s3-ca" for v in pod["spec"]["volumes"])}
    assert trusting >= CONTROL | COMPUTE | {"executor"}
    assert "s3-ca" not in str(render()) + str(render(*FULL, "--set", "s3.ca.secret="))
