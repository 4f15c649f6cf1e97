"""Dropping a file into the folder is all it takes; what cannot stand beside the others is refused."""

from itertools import count
from pathlib import Path

import pytest

from assets.errors import ActionContractError
from assets.profiles import ProfilesError, load_images, load_profiles
from assets.publish import catalogue
from assets.registry import Registry, discover, registry

PYTHON = """
from assets.declaration import action

@action(inputs={{{inputs}}}, output="{output}", schema="n bigint", profile="{profile}", image={image})
def {name}({parameters}):
    return None
"""
_numbers = count()


class Folder:
    """A package of action files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def python(
        self, name: str, output: str, source: str = "orders", profile: str = "small", image: str | None = None
    ) -> None:
        inputs = f'"{source}": "{source}"'
        text = PYTHON.format(
            name=name, output=output, inputs=inputs, parameters=source, profile=profile, image=repr(image)
        )
        (self.path / f"{name}.py").write_text(text)

    def sql(self, name: str, *header: str, query: str = "SELECT 1 AS n") -> None:
        (self.path / f"{name}.sql").write_text("".join(f"-- {line}\n" for line in header) + query)

    def discover(self) -> Registry:
        return discover(self.path.name, {"small", "medium"}, {"geo"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    package = tmp_path / f"actions_of_test_{next(_numbers)}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Folder(package)


HEADER = ("output: by_sql", "inputs: orders, people=customer", "schema: n bigint", "description: Counts.")


def test_python_and_sql_files_are_found(folder: Folder) -> None:
    folder.python("one", "first")
    folder.sql("two", *HEADER, "check: not_null(n)", "check: at_least(rows=3)", "profile: medium")
    found = folder.discover()
    assert sorted(found.digests()) == ["one", "two"]
    assert found["two"].snapshot_inputs == {"orders": "orders", "people": "customer"}
    assert [str(check) for check in found["two"].checks] == ["not_null(n)", "at_least(rows=3)"]
    assert (found["two"].profile, found["two"].description) == ("medium", "Counts.")
    with pytest.raises(ActionContractError, match="not deployed here"):
        found["three"]


def test_a_header_spells_checks_as_python_does(folder: Folder) -> None:
    spelled = [
        "not_null(n, m)",
        "accepted_values(m, 'A', 'B c')",
        "accepted_range(n, at_least=-5, at_most=10)",
        "accepted_range(d, at_least='2013-01-01')",
        "at_least(rows=0.5, per=people)",
        "at_most(rows=100)",
        "holds(n >= 0 OR (m = 'A'))",
    ]
    header = ("output: by_sql", "inputs: orders, people=customer", "schema: n bigint, m string, d date")
    folder.sql("two", *header, *(f"check: {check}" for check in spelled))
    assert [str(check) for check in folder.discover()["two"].checks] == spelled


def test_the_digest_follows_the_file(folder: Folder) -> None:
    folder.sql("two", *HEADER)
    before = folder.discover()["two"].digest
    assert folder.discover()["two"].digest == before
    folder.sql("two", *HEADER, query="SELECT 2 AS n")
    assert folder.discover()["two"].digest != before


def test_two_actions_for_one_output_are_refused(folder: Folder) -> None:
    folder.python("one", "same")
    folder.python("two", "same")
    with pytest.raises(ActionContractError, match="output 'same'"):
        folder.discover()


def test_two_actions_of_one_name_are_refused(folder: Folder) -> None:
    folder.python("one", "first")
    folder.sql("one", *HEADER)
    with pytest.raises(ActionContractError, match="name 'one'"):
        folder.discover()


def test_an_unknown_profile_is_refused(folder: Folder) -> None:
    folder.python("one", "first", profile="enormous")
    with pytest.raises(ActionContractError, match="enormous"):
        folder.discover()


def test_an_action_may_name_an_image_that_the_deployment_knows(folder: Folder) -> None:
    folder.python("one", "first", image="geo")
    folder.sql("two", *HEADER, "image: geo")
    folder.python("three", "third")
    assert {action.name: action.image for action in folder.discover()} == {"one": "geo", "two": "geo", "three": None}


def test_an_unknown_image_is_refused(folder: Folder) -> None:
    folder.python("one", "first", image="registry.example/geo:1")
    with pytest.raises(ActionContractError, match=r"action one: image 'registry\.example/geo:1' is none of geo"):
        folder.discover()
    with pytest.raises(ActionContractError, match="there is no image"):
        discover(folder.path.name, {"small"})


def test_an_unknown_image_in_sql_is_refused(folder: Folder) -> None:
    folder.sql("two", *HEADER, "image: maps")
    with pytest.raises(ActionContractError, match="action two: image 'maps' is none of geo"):
        folder.discover()


def test_a_circle_of_datasets_is_refused(folder: Folder) -> None:
    folder.python("one", "a", source="b")
    folder.python("two", "b", source="a")
    with pytest.raises(ActionContractError, match="circle"):
        folder.discover()


def test_a_file_without_an_action_is_refused(folder: Folder) -> None:
    (folder.path / "empty.py").write_text("X = 1\n")
    with pytest.raises(ActionContractError, match="declares no action"):
        folder.discover()


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        (HEADER[1:], "output"),
        ((*HEADER, "output: again"), "output"),
        ((*HEADER, "colour: red"), "colour"),
        ((*HEADER, "check: positive(n)"), "positive"),
        ((*HEADER, "check: not_null(month)"), "month"),
        ((*HEADER, "check: not_null(n"), "not_null"),
        ((*HEADER, "check: at_least(3)"), "positional"),
        ((*HEADER, "check: at_least(rows=n)"), "at_least"),
        ((*HEADER, "check: accepted_range(n, at_least=1 + x)"), "malformed"),
        ((*HEADER, "check: holds()"), "holds"),
        ((*HEADER, "check: __import__('os').system('x')"), "write one of"),
        ((*HEADER, "param: since"), "since"),
        ((*HEADER, "param: since map"), "since"),
        ((*HEADER, "param: since date = yesterday"), "default"),
        ((*HEADER, "param: least double = inf"), "params.least must be a finite number"),
        ((*HEADER, "param: least double = nan"), "params.least must be a finite number"),
        (("output: x", "inputs: Orders", "schema: n bigint"), "lower-case"),
        (("output: x", "inputs: orders", "schema: n interval"), "interval"),
    ],
)
def test_a_malformed_header_is_refused(folder: Folder, header: tuple[str, ...], rule: str) -> None:
    folder.sql("bad", *header)
    with pytest.raises(ActionContractError, match=rule) as refused:
        folder.discover()
    assert "bad.sql" in str(refused.value)


def test_sql_parameters_have_types_and_defaults(folder: Folder) -> None:
    folder.sql("two", *HEADER, "param: since date = 1992-01-01", "param: least bigint")
    model = folder.discover()["two"].params_model
    assert model.model_validate({"least": 3}).model_dump(mode="json") == {"since": "1992-01-01", "least": 3}
    assert model.model_json_schema()["required"] == ["least"]


def test_the_deployed_actions_stand_together() -> None:
    published = catalogue(registry(), load_profiles())
    by_name = {entry.name: entry for entry in published.actions}
    # What is shipped is there; an action that somebody adds edits no test.
    assert {name: entry.dataset for name, entry in by_name.items()}.items() >= {
        "aggregate_revenue": "revenue",
        "aggregate_revenue_sql": "revenue_sql",
        "daily_delays": "daily_delays",
        "ingest_customer": "customer",
        "ingest_flights": "flights",
        "ingest_lineitem": "lineitem",
        "ingest_orders": "orders",
    }.items()
    assert by_name["ingest_flights"].inputs == {}
    assert by_name["daily_delays"].inputs == {"flights": "flights"}
    assert (
        by_name["aggregate_revenue"].output_schema == "month date, segment string, revenue decimal(18,2), orders bigint"
    )
    assert by_name["aggregate_revenue"].params_schema["properties"]["min_orders"]["minimum"] == 0
    assert set(published.profiles) == {"small", "medium", "large"}


def test_the_examples_of_the_guide_are_actions(folder: Folder) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "adding-an-action.md").read_text()
    for language, suffix, name in (("python", "py", "distances"), ("sql", "sql", "distances_sql")):
        example = guide.partition(f"```{language}\n")[2].partition("```")[0]
        (folder.path / f"{name}.{suffix}").write_text(example)
    found = folder.discover()
    assert {action.name: str(action.schema) for action in found} == dict.fromkeys(
        ("distances", "distances_sql"), "carrier string, miles bigint"
    )


def test_a_broken_profiles_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfilesError, match=r"none\.toml: No such file"):
        load_profiles(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text('[small]\ndriver_memory = "lots"\n')
    with pytest.raises(ProfilesError, match="driver_memory"):
        load_profiles(tmp_path / "bad.toml")


def test_images_are_read_by_the_name_that_an_action_uses(tmp_path: Path) -> None:
    (tmp_path / "images.toml").write_text('[images]\ngeo = "registry.example/geo:1"\n')
    assert load_images(tmp_path / "images.toml") == {"geo": "registry.example/geo:1"}
    (tmp_path / "images.toml").write_text("")
    assert load_images(tmp_path / "images.toml") == {}
    (tmp_path / "images.toml").write_text("[images]\ngeo = 1\n")
    with pytest.raises(ProfilesError, match=r"images\.toml"):
        load_images(tmp_path / "images.toml")
