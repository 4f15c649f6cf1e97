"""The two files that ``lakemill actions new`` writes: an action that counts rows, and its unit test."""

from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

from assets.errors import ActionContractError
from assets.registry import registry
from contracts.identity import safe_name

_ROOT = Path(__file__).parent.parent

_PYTHON = '''"""What the dataset holds, in one sentence."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from assets.declaration import action, at_least, not_null


@action(
    inputs={{"{dataset}": "{dataset}"}},
    output="{name}",
    schema="row_count bigint",
    checks=[not_null("row_count"), at_least(rows=1)],
)
def {name}({dataset}: DataFrame) -> DataFrame:
    """What one row says."""
    return {dataset}.agg(F.count("*").alias("row_count")).select("row_count")
'''
_SQL = """-- output: {name}
-- inputs: {dataset}
-- schema: row_count bigint
-- check: not_null(row_count)
-- check: at_least(rows=1)
-- description: What one row says.
SELECT count(*) AS row_count
FROM {dataset}
"""
_TEST = '''"""What the dataset holds, in one sentence."""

from assets.{module} import {imported}
from assets.testing import compute


def test_rows_are_counted() -> None:
    assert compute({action}, {dataset}=[{{}}, {{}}]) == [{{"row_count": 2}}]
'''


@dataclass(frozen=True, slots=True)
class ActionFiles:
    """Where the files of actions and of their unit tests lie."""

    actions: Path = _ROOT / "assets" / "actions"
    tests: Path = _ROOT / "tests" / "actions"

    def write(self, name: str, dataset: str, *, in_sql: bool) -> tuple[Path, Path]:
        """Write an action over ``dataset`` and its unit test; return both paths.

        Raises ActionContractError for a name or dataset that cannot be, and when one of the files is there already.
        """
        self._refuse(name, dataset)
        action = self.actions / f"{name}.{'sql' if in_sql else 'py'}"
        test = self.tests / f"test_{name}.py"
        for path in (self.actions / f"{name}.py", self.actions / f"{name}.sql", test):
            if path.exists():
                raise ActionContractError(f"{path} is there already; nothing was written")
        facts = {
            "name": name,
            "dataset": dataset,
            "module": "registry" if in_sql else f"actions.{name}",
            "imported": "registry" if in_sql else name,
            "action": f'registry()["{name}"]' if in_sql else name,
        }
        action.write_text((_SQL if in_sql else _PYTHON).format(**facts))
        test.write_text(_TEST.format(**facts))
        return action, test

    def tests_of(self, name: str) -> tuple[str, str]:
        """Return what pytest is to run for an action. Raises ActionContractError when it has no test of its own."""
        own = self.tests / f"test_{name}.py"
        if not own.exists():
            raise ActionContractError(f"the action {name!r} has no unit test: write {own}")
        return str(own), f"{self.tests / 'test_determinism.py'}::test_the_same_inputs_give_the_same_rows[{name}]"

    def _refuse(self, name: str, dataset: str) -> None:
        try:
            safe_name(name)
        except ValueError as error:
            raise ActionContractError(f"action {name!r}: {error}") from error
        if iskeyword(name):
            raise ActionContractError(f"action {name!r}: it is a word of Python's own")
        outputs = sorted(action.output for action in registry())
        if name in outputs:
            raise ActionContractError(f"an action has the output {name!r} already; there may be one")
        if dataset not in outputs:
            raise ActionContractError(f"no action makes the dataset {dataset!r}; there are: {', '.join(outputs)}")
        if not self.tests.is_dir():
            raise ActionContractError(f"{self.tests} is not there; call this where the repository is checked out")
