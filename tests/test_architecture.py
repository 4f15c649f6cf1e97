"""The architecture as rules that fail: import directions, one reader of the environment, sizes, names."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("contracts", "resources", "control", "api", "assets", "sensors", "orchestration", "cli", "deploy")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Return the dotted names a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_imports_point_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_settings_reads_the_environment() -> None:
    pattern = re.compile(r"os\.environ|os\.getenv|getenv\(")
    readers = {str(path.relative_to(ROOT)) for path in SOURCES if pattern.search(path.read_text())}
    # The supervisor and the starter of the JVM read no settings there: they hand their own environment on.
    assert readers <= {"resources/settings.py", "deploy/local/environment.py", "resources/spark/jvm.py"}


def test_action_files_see_only_spark_and_the_declaration() -> None:
    allowed = re.compile(r"^(pyspark(\..*)?|assets\.declaration|pydantic|datetime|decimal|typing)$")
    for path in (ROOT / "assets" / "actions").glob("*.py"):
        assert {name for name in imports_of(path) if not allowed.match(name)} == set(), path.name


def test_every_folder_is_listed_for_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert tuple(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "manager", "base"])
def test_no_module_is_named_after_nothing(name: str) -> None:
    assert [path for path in SOURCES if path.stem == name] == []


def test_files_stay_small() -> None:
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > 250} == {}


def test_the_lock_file_carries_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
