"""The guide's own example, and what 'lakemill actions new' writes: an action and a unit test that passes."""

import importlib
import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assets.errors import ActionContractError
from assets.registry import Registry
from assets.sql import load_sql
from assets.testing import compute
from cli.action_files import ActionFiles
from cli.main import app

ROOT = Path(__file__).parents[2]


def test_the_guides_unit_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "adding-an-action.md").read_text()
    example, test = (part.partition("```")[0] for part in guide.split("```python\n")[1:])
    (tmp_path / "distances.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "assets.actions.distances", importlib.import_module("distances"))
    names: dict[str, Any] = {}
    exec(test, names)  # noqa: S102 - our own guide
    names["test_miles_are_added_up"]()


@pytest.fixture
def files(tmp_path: Path) -> ActionFiles:
    for folder in ("actions", "tests"):
        (tmp_path / folder).mkdir()
    return ActionFiles(tmp_path / "actions", tmp_path / "tests")


def test_a_new_action_in_python_passes_its_unit_test(files: ActionFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    action, test = files.write("counts_written_by_new", "flights", in_sql=False)
    monkeypatch.syspath_prepend(str(action.parent))
    monkeypatch.setitem(sys.modules, f"assets.actions.{action.stem}", importlib.import_module(action.stem))
    run(test)


def test_a_new_action_in_sql_passes_its_unit_test(files: ActionFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    action, test = files.write("counts_written_by_new", "flights", in_sql=True)
    found = Registry({"counts_written_by_new": load_sql(action)})
    monkeypatch.setattr("assets.registry.registry", lambda: found)
    run(test)


def run(test: Path) -> None:
    names: dict[str, Any] = {}
    exec(test.read_text(), names)  # noqa: S102 - what we have written a line before
    names["test_rows_are_counted"]()


SQL = """-- output: late
-- inputs: flights, before=flights
-- schema: carrier string, flights bigint, share double, is_all boolean
-- check: accepted_range(share, at_least=0, at_most=1)
-- check: holds(flights > 0)
-- sort_by: carrier
-- param: since date = 2013-01-02
-- param: carrier string
-- param: least double = 0.5
-- param: most bigint = 9
-- param: is_all boolean = false
SELECT carrier, count(*) AS flights, count(*) / (SELECT count(*) FROM before) AS share, :is_all AS is_all
FROM flights WHERE flight_date >= :since AND (:is_all OR carrier = :carrier)
GROUP BY carrier HAVING share >= :least AND flights <= :most
"""


def test_sql_takes_parameters_of_every_type_and_several_inputs(tmp_path: Path) -> None:
    (tmp_path / "late.sql").write_text(SQL)
    days = [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 3)]
    flights = [{"flight_date": day, "carrier": carrier} for carrier in ("UA", "AA") for day in days]
    before = [{"carrier": "UA"}] * 4
    late = load_sql(tmp_path / "late.sql")
    one = {"carrier": "UA", "flights": 2, "share": 0.5, "is_all": False}
    assert compute(late, {"carrier": "UA"}, flights=flights, before=before) == [one]
    asked = {"carrier": "UA", "since": "2013-01-03", "least": 0.25, "is_all": True}
    both = [{"carrier": name, "flights": 1, "share": 0.25, "is_all": True} for name in ("AA", "UA")]
    assert compute(late, asked, flights=flights, before=before) == both
    assert compute(late, asked | {"most": 0}, flights=flights, before=before) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (SQL.replace("-- check: holds", "\n-- chek: holds"), "'-- chek: holds(flights > 0)': write one of"),
        (SQL.replace("-- check: holds", "-- Check : holds"), "'-- Check : holds(flights > 0)'"),
        (SQL.replace("-- sort_by: carrier", "-- sort_by:"), "'-- sort_by:'"),
        (SQL.replace("-- inputs: flights, before=flights\n", ""), "'-- inputs: …' once"),
    ],
)
def test_no_line_of_a_header_is_passed_over(tmp_path: Path, broken: str, told: str) -> None:
    (tmp_path / "late.sql").write_text(broken)
    with pytest.raises(ActionContractError, match=re.escape(told)):
        load_sql(tmp_path / "late.sql")


def test_a_header_may_have_empty_lines_and_prose(tmp_path: Path) -> None:
    (tmp_path / "late.sql").write_text(
        SQL.replace("-- check: holds", "\n-- Some prose: it says nothing.\n-- check: holds")
    )
    assert len(load_sql(tmp_path / "late.sql").checks) == 2


def test_an_action_without_a_unit_test_has_not_passed(files: ActionFiles) -> None:
    files.write("counts", "flights", in_sql=True)
    own, same_rows = files.tests_of("counts")
    assert Path(own).exists()
    assert same_rows.endswith("[counts]")
    Path(own).unlink()
    with pytest.raises(ActionContractError, match="has no unit test"):
        files.tests_of("counts")


def test_nothing_is_written_over(files: ActionFiles) -> None:
    files.write("counts", "flights", in_sql=True)
    written = {path: path.read_text() for path in (*files.actions.iterdir(), *files.tests.iterdir())}
    for in_sql in (True, False):
        with pytest.raises(ActionContractError, match=r"counts\.sql is there already"):
            files.write("counts", "orders", in_sql=in_sql)
    assert {path: path.read_text() for path in (*files.actions.iterdir(), *files.tests.iterdir())} == written


@pytest.mark.parametrize(
    ("name", "dataset", "told"),
    [
        ("Counts", "flights", "must"),
        ("../x", "flights", "must"),
        ("counts", "weather", "flights"),
        ("flights", "orders", "output"),
        ("class", "flights", "Python"),
    ],
)
def test_a_name_that_cannot_be_is_refused(files: ActionFiles, name: str, dataset: str, told: str) -> None:
    with pytest.raises(ActionContractError, match=told):
        files.write(name, dataset, in_sql=False)
    assert list(files.actions.iterdir()) == []


def test_the_list_is_json_when_asked_for() -> None:
    done = CliRunner().invoke(app, ["actions", "ls", "--json"])
    assert done.exit_code == 0
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert listed["ingest_flights"]["landing"] == {"flights": "csv"}
    assert listed["daily_delays"]["inputs"] == {"flights": "flights"}
    assert listed["daily_delays"]["checks"][1:] == ["unique(flight_date, carrier)", "at_least(rows=1)"]
