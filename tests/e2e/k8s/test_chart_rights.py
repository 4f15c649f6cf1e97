"""Who may ask the cluster for what, and that no secret stands in the chart."""

import re

import pytest
import yaml

from cli.chart_docs import WITHOUT_RIGHTS
from tests.e2e.k8s.helm import CHART, FULL, RELEASE, Objects, containers, environment, pods, render

pytestmark = pytest.mark.k8s
WITH_TOKEN = {"daemon", "webserver", "run", "doctor-cluster"}


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


def test_roles_are_the_rights_in_the_file() -> None:
    full = render(*FULL)
    stated = yaml.safe_load((CHART / "rbac.yaml").read_text())
    roles = {found["metadata"]["name"]: found["rules"] for found in full if found["kind"] == "Role"}
    assert roles == {f"{RELEASE}-{account}": rules for account, rules in stated.items()}


def test_jobs_are_made_by_the_daemon_and_who_tests_in_its_place() -> None:
    full = render(*FULL)
    makers = {
        role["metadata"]["name"]
        for role in full
        if role["kind"] == "Role" and any({"jobs", "create"} <= {*r["resources"], *r["verbs"]} for r in role["rules"])
    }
    found = {component for component, pod in pods(full).items() if pod["spec"]["serviceAccountName"] in makers}
    assert found == {"daemon", "doctor-cluster"}


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
