"""The documents against reality: every command, file, test and field that they name exists."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from assets.profiles import load_profiles
from assets.registry import discover
from cli import problem_docs
from cli.main import app
from contracts.messages import ProcessRequest
from contracts.problem_codes import PROBLEMS
from control.gauges import Gauges
from tests.test_architecture import ROOT

DOCS = sorted(path for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    named = {
        (path.name, target)
        for path in DOCS
        for target in re.findall(r"(?:`|^)make ([a-z0-9-]+)", path.read_text(), re.MULTILINE)
    }
    assert {target for _, target in named} >= {"demo", "test"}
    assert [(name, target) for name, target in sorted(named) if target not in targets] == []


def test_every_lakemill_command_exists() -> None:
    root: Any = get_command(app)
    subcommands: dict[str, set[str]] = {
        name: set(getattr(command, "commands", ())) for name, command in root.commands.items()
    }
    pattern = re.compile(r"(?:^|[`('|]|\$\()\s?lakemill ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE)
    named = {(path.name, *found) for path in DOCS for found in pattern.findall(path.read_text())}
    assert {command for _, command, _ in named} >= {"up", "down", "keys"}
    for name, command, sub in sorted(named):
        assert command in subcommands, f"{name}: lakemill {command}"
        assert not subcommands[command] or sub in subcommands[command], f"{name}: lakemill {command} {sub}"


def test_every_link_and_path_exists() -> None:
    folders = "tests|bench|deploy|control|contracts|resources|assets|cli|docs|sensors|orchestration|examples"
    for path in DOCS:
        links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
        missing = [link for link in links if not (path.parent / link).exists()]
        paths = re.findall(rf"`((?:{folders})/[\w./-]+)", path.read_text())
        missing += [code for code in paths if not (ROOT / code).exists()]
        assert missing == [], path.name


def test_every_gauge_is_explained() -> None:
    explained = set(re.findall(r"`lakemill_(\w+)`", (ROOT / "docs/monitoring.md").read_text()))
    assert {each.name for each in fields(Gauges)} | {"requests_total", "request_seconds", "database_up"} == set(
        explained
    )


def test_every_test_that_proves_a_guarantee_exists() -> None:
    proofs = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", README)
    assert len(proofs) >= 11
    for file, function in proofs:
        assert f"def {function}(" in (ROOT / file).read_text(), f"{file}::{function}"


@pytest.mark.parametrize(("name", "heading"), [("failures.md", "| what fails |"), ("threat-model.md", "| boundary |")])
def test_every_row_names_tests_that_exist(name: str, heading: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    rows = [line for line in page[page.index(heading) :].splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(heading)]
    assert len(rows) >= 15
    for row in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.split(" | ")[-1])
        assert tests, row
        for file, function in tests:
            assert f"def {function}(" in (ROOT / file).read_text(), f"{file}::{function}"


def test_the_curl_is_a_valid_request_and_its_answer_a_real_one() -> None:
    body = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert body is not None
    request = ProcessRequest.model_validate(json.loads(body.group(1)))
    answer = re.search(r"```json\n(\{.*?\})\n```", README, re.DOTALL)
    assert answer is not None
    told = json.loads(answer.group(1))
    assert (told["entity_id"], told["data_version"], told["action"]) == (
        request.entity_id,
        request.data_version,
        request.action,
    )
    assert f"s3://lake/{request.entity_id}/{request.data_version}/{told['dataset']}" in README


def test_the_action_of_the_readme_is_an_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    folder = tmp_path / "readme_actions"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "distances.py").write_text(code.group(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = discover("readme_actions", load_profiles(ROOT / "deploy" / "profiles.toml"))
    assert (found.name, found.output) == ("distances", "distances")


def test_the_figures_of_the_readme_come_from_the_benches() -> None:
    measured: dict[str, Any] = {}
    for result in (ROOT / "bench" / "results").glob("*.json"):
        measured |= json.loads(result.read_text())["figures"]
    quoted = re.findall(r"\| `(\w+)` \| (-?[\d.]+) ", README[README.index("## Measured") :])
    assert quoted
    assert [figure for figure, value in quoted if float(value) != measured[figure]["value"]] == []


def test_problem_codes_are_explained() -> None:
    for problem in PROBLEMS.values():
        assert all(text.endswith(".") for text in (problem.cause, problem.remedy)), problem.code
        assert len({problem.title, problem.cause, problem.remedy}) == 3, problem.code
    assert problem_docs.PAGE.read_text() == problem_docs.page()  # python -m cli.problem_docs


def test_every_line_that_calls_for_a_person_is_explained() -> None:
    logged = re.compile(r"log\.(?:error|critical|exception)\(\s*\"([a-z_.]+)\"")
    packages = ("api", "assets", "control", "orchestration", "resources", "sensors")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    said = {event for path in sources for event in logged.findall(path.read_text())}
    explained = re.findall(
        r"^\| `([a-z_.]+)` \| (?:worker|API|code location|run)", (ROOT / "docs" / "monitoring.md").read_text(), re.M
    )
    assert sorted(explained) == sorted(said)
