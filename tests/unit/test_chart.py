"""The Helm chart's files, as they lie there: documents, schema, rights and defaults agree with each other."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from dagster_k8s.client import DagsterKubernetesClient

from cli.chart_docs import CHART, ROOT, WITHOUT_RIGHTS, ChartDocsError, rendered, rights_table, values, values_table

VALUES_TEXT = (CHART / "values.yaml").read_text()
VALUES: dict[str, Any] = yaml.safe_load(VALUES_TEXT)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
RBAC: dict[str, list[dict[str, list[str]]]] = yaml.safe_load((CHART / "rbac.yaml").read_text())
NETWORK: dict[str, Any] = yaml.safe_load((CHART / "network.yaml").read_text())
TEMPLATES = sorted(path for path in (CHART / "templates").rglob("*") if path.is_file())
HELMS_OWN = {"global"}


def test_the_documents_are_what_the_generator_writes() -> None:
    for path, content in rendered().items():
        assert path.read_text() == content, f"{path.name}: run 'python -m cli.chart_docs'"


def test_a_value_without_a_comment_is_refused_by_name() -> None:
    with pytest.raises(ChartDocsError, match=r"above a\.c \(line 4\)"):
        values("a:\n  # What b is.\n  b: 1\n  c: 2\n")


def test_a_mapping_without_comments_inside_is_one_value() -> None:
    assert values_table("a:\n  # Both\n  # of them.\n  b: {x: 1, y: [2]}\n").splitlines()[2:] == [
        '| `a.b` | `{"x": 1, "y": [2]}` | Both of them. |'
    ]


def test_the_rights_table_names_the_accounts_without_rights() -> None:
    table = rights_table("mover:\n- {apiGroups: [''], resources: [pods], verbs: [get, list]}\n")
    assert "| `mover` | core | pods | get, list |" in table
    assert all(f"| `{account}` | | nothing" in table for account in WITHOUT_RIGHTS)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMA["$defs"][reference.removeprefix("#/$defs/")] if reference else schema


def _gaps(content: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    if "properties" not in schema:  # a free map: labels, annotations, quantities
        if schema.get("type") != "object" or "additionalProperties" not in schema:
            yield f"{path}: neither keys nor a rule for them"
        return
    if schema.get("additionalProperties") is not False:
        yield f"{path}: unknown keys are not refused"
    known = set(schema["properties"]) - HELMS_OWN
    yield from (f"{path}.{key}: not in the schema" for key in content.keys() - known)
    for key, below in content.items():
        if isinstance(below, dict) and key in known:
            yield from _gaps(below, _resolved(schema["properties"][key]), f"{path}.{key}")


def test_the_schema_knows_every_value_and_refuses_unknown_ones() -> None:
    assert list(_gaps(VALUES, SCHEMA, "")) == []


def test_the_schema_names_no_value_that_does_not_exist() -> None:
    def missing(content: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
        for key, below in schema.get("properties", {}).items():
            if key not in content and key not in HELMS_OWN | {"limits"}:  # a run's limits come from its profile
                yield f"{path}.{key}"
            elif isinstance(content.get(key), dict):
                yield from missing(content[key], _resolved(below), f"{path}.{key}")

    assert list(missing(VALUES, SCHEMA, "")) == []


def test_rights_are_few_and_named_one_by_one() -> None:
    assert set(RBAC) == {"launcher", "webserver", "run"}
    verbs = {"create", "get", "list", "watch", "delete", "deletecollection"}
    for account, rules in RBAC.items():
        for rule in rules:
            assert set(rule) == {"apiGroups", "resources", "verbs"}, account
            assert set(rule["apiGroups"]) <= {"", "batch"}, account
            assert set(rule["verbs"]) <= verbs, account
            assert not set(rule["resources"]) & {"*", "secrets", "serviceaccounts", "pods/exec"}, account
        named = [(group, what) for rule in rules for group in rule["apiGroups"] for what in rule["resources"]]
        assert len(named) == len(set(named)), f"{account}: one line per resource"


def test_the_webserver_may_do_what_ending_a_run_asks_for_and_no_more() -> None:
    cluster: Any = DagsterKubernetesClient
    batch, core = MagicMock(), MagicMock()
    core.list_namespaced_pod.return_value.items = [MagicMock()]
    assert cluster.production_client(batch, core).delete_job("run", "mill")
    asked = {call for call, *_ in (*batch.method_calls, *core.method_calls)}
    verbs = [(verb, what) for rule in RBAC["webserver"] for what in rule["resources"] for verb in rule["verbs"]]
    assert asked == {f"{verb}_namespaced_{what.removesuffix('s')}" for verb, what in verbs}


def test_connections_are_between_pods_that_exist() -> None:
    components = set(NETWORK["components"])
    for line in NETWORK["inside"]:
        assert {*line["from"], line["to"]} <= components
    assert {line["to"] for line in NETWORK["entrances"]} <= components
    assert {line["from"] for line in NETWORK["entrances"]} == set(VALUES["networkPolicy"]["from"])
    assert set(NETWORK["outside"]) == set(VALUES["networkPolicy"]["to"])
    assert {name for names in NETWORK["outside"].values() for name in names} <= components


def test_the_default_profiles_images_and_schedules_are_the_repository_s() -> None:
    assert VALUES["profiles"].strip() == (ROOT / "deploy" / "profiles.toml").read_text().strip()
    assert VALUES["actionImages"].strip() == (ROOT / "deploy" / "images.toml").read_text().strip()
    assert VALUES["schedules"].strip() == (ROOT / "deploy" / "schedules.toml").read_text().strip()


def test_the_chart_installs_the_version_of_this_code() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_chart_holds_no_secret() -> None:
    text = VALUES_TEXT + "".join(path.read_text() for path in TEMPLATES)
    assert not re.search(r"^kind: Secret$", text, re.MULTILINE)
    assert not re.search(r"://[^\s/:@…]+:[^\s/@…]+@", text), "an address with a password"
    plain = set(re.findall(r'"lakemill\.plain" \(list "(\w+)"', text))
    secret = set(re.findall(r'"lakemill\.fromSecret" \(list "(\w+)"', text))
    assert len(plain) > 15
    assert len(secret) > 8
    suspicious = re.compile(r"SECRET|PASSWORD|USERNAME|ACCESS_KEY|SCHEDULE_KEYS|DATABASE_URL|POSTGRES_URL")
    assert [name for name in sorted(plain) if suspicious.search(name)] == []
    assert [name for name in sorted(secret) if not suspicious.search(name)] == []
