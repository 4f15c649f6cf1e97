"""Every code with which something is refused is explained, and every explained one is used."""

import ast
from collections.abc import Iterator

from api.problems import BY_STATUS
from contracts.problem_codes import PROBLEMS
from contracts.strict_json import MalformedJsonError
from tests.test_architecture import ROOT

FOLDERS = ("api", "contracts", "control", "resources")
ERRORS = {"ProblemError": 0, "MalformedJsonError": 1}
"""What is raised with a code, and which of its arguments that is."""


def raised() -> Iterator[str]:
    """Every code that stands in the code as one."""
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                place = ERRORS[node.func.id]
                given = node.args[place] if len(node.args) > place else None
                if isinstance(given, ast.Constant):
                    yield str(given.value)


def test_what_is_raised_is_what_is_explained() -> None:
    # The framework's own refusals become ours by their status, and JSON that is none has its code by default.
    told = {*raised(), *BY_STATUS.values(), MalformedJsonError("no JSON").code}
    assert told == set(PROBLEMS)
