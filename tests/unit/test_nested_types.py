"""Structs, arrays and maps: declared, written as Spark's JSON and Arrow's types, read back, checked and compared."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.checks import Check
from assets.declaration import accepted_values, action, landing, not_null, unique
from assets.errors import ActionContractError, CheckFailedError
from assets.running.audit import Written, measure
from assets.snapshots.comparing import KeyColumnsError, compare_rows
from assets.snapshots.verify import verify
from assets.tables.arrow_types import arrow_schema, table_schema
from assets.tables.footers import read_footers
from assets.tables.schema import MAX_NESTED, Array, Column, Map, Schema
from cli.snapshots.facts import snapshot_facts
from contracts.identity import Coordinate
from resources.lake.folder import FileLake
from tests.parquet_snapshots import publish

DDL = (
    "n int, at struct<city string, zip: array<int>>, tags ARRAY < string >, seen map<date, struct<n bigint, by string>>"
)
DEEPEST = f"{'array<' * MAX_NESTED}int{'>' * MAX_NESTED}"
PLACE = Coordinate("e", "v1", "made")


def test_a_nested_schema_is_a_schema_of_schemas() -> None:
    schema = Schema.parse(DDL)
    assert schema == Schema(
        (
            Column("n", "integer"),
            Column("at", Schema((Column("city", "string"), Column("zip", Array("integer"))))),
            Column("tags", Array("string")),
            Column("seen", Map("date", Schema((Column("n", "long"), Column("by", "string"))))),
        )
    )
    assert schema.nested == ("at", "tags", "seen")
    assert str(schema) == (
        "n int, at struct<city string, zip array<int>>, tags array<string>, seen map<date, struct<n bigint, by string>>"
    )
    assert Schema.parse(str(schema)) == schema
    assert Schema.from_json(schema.to_json()) == schema
    assert table_schema(arrow_schema(schema)) == schema


def test_it_is_sparks_own_json_with_everything_nullable() -> None:
    from pyspark.sql.types import ArrayType, IntegerType, StructField, StructType  # noqa: PLC0415 - only here

    text = Schema.parse(DDL).to_json()
    assert StructType.fromJson(json.loads(text)).json() == text
    strict = StructType([StructField("a", ArrayType(IntegerType(), containsNull=False), nullable=False)])
    assert Schema.from_json(strict.json()) == Schema.parse("a array<int>")


def test_the_deepest_schema_can_be_read_back() -> None:
    structs = f"{'struct<a ' * MAX_NESTED}int{'>' * MAX_NESTED}"
    for kind in (structs, DEEPEST):
        schema = Schema.parse(f"a {kind}")
        assert Schema.from_json(schema.to_json()) == schema
    deeper = pa.schema([("a", pa.list_(arrow_schema(Schema.parse(f"a {DEEPEST}")).field("a").type))])
    assert Schema.parse(f"a array<{DEEPEST[6:]}").difference(table_schema(deeper)) is not None


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("array<>", r"column a\.element: type ''"),
        ("array<int", "type 'array<int' is not one of"),
        ("array<int>>", "type 'int>' is not one of"),
        ("array<int, int>", "type 'int, int' is not one of"),
        ("map<string>", r"column a: write map<key, value>"),
        ("map<array<int>, int>", r"column a\.key: type 'array<int>'"),
        ("map<string, decimal(39,1)>", r"column a\.value: decimal"),
        ("struct<>", r"column a\.'': write 'name type'"),
        ("struct<B int>", r"column a\.'B int': write 'name type'"),
        ("array<struct<b int, b int>>", r"schema names a\.element\.b twice"),
        (f"array<{DEEPEST}>", "nested 5 deep"),
        ("list<int>", "not one of"),
    ],
)
def test_a_malformed_type_is_refused_by_its_path(kind: str, rule: str) -> None:
    with pytest.raises(ActionContractError, match=rule):
        Schema.parse(f"a {kind}")


def test_what_nested_columns_cannot_do_is_refused() -> None:
    def made() -> Any:
        """Never called."""

    def declare(*checks: Check, **facts: Any) -> None:
        action(inputs={}, output="made", schema=DDL, checks=checks, **facts)(made)

    declare(not_null("tags", "n"))
    for refused, rule in [(unique("n", "tags"), "tags is nested"), (accepted_values("at", "x"), "at is nested")]:
        with pytest.raises(ActionContractError, match=rule):
            declare(refused)
    with pytest.raises(ActionContractError, match="no order: seen"):
        declare(sort_by=["n", "seen"])
    with pytest.raises(ActionContractError, match="'csv' cannot hold nested columns: at, tags, seen"):
        landing("csv", DDL)
    with pytest.raises(ActionContractError, match="'jsonl' has strings for a map's keys, not map<date,"):
        landing("jsonl", DDL)
    assert landing("jsonl", "a array<map<string, int>>").schema.nested == ("a",)
    assert landing("parquet", DDL).schema == Schema.parse(DDL)


ROWS: list[dict[str, Any]] = [
    {"n": 1, "at": {"city": "x", "zip": [1, None]}, "tags": [], "seen": [(1, {"n": 1, "by": None}), (2, None)]},
    {"n": 2, "at": {"city": None, "zip": None}, "tags": [None], "seen": []},
    {"n": 3, "at": None, "tags": None, "seen": None},
]


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), arrow_schema(Schema.parse(DDL)))


def test_flat_columns_beside_nested_ones_keep_their_statistics(tmp_path: Path) -> None:
    lake = FileLake(tmp_path)
    flat_last = table(ROWS).select(["at", "seen", "tags", "n"])
    snapshot = publish(
        lake,
        PLACE,
        "at struct<city string, zip array<int>>, seen map<date, struct<n bigint, by "
        "string>>, tags array<string>, n int",
        [flat_last],
    )
    (file,) = snapshot.commit.files
    assert (file.null_counts, file.min_values, file.max_values) == ({"n": 0}, {"n": 1}, {"n": 3})
    assert snapshot.to_arrow().to_pylist() == flat_last.to_pylist()
    assert verify(lake, PLACE, deep=True).problems == []
    told = snapshot_facts(snapshot)
    assert told["statistics"]["at"] == {"nulls": None, "minimum": None, "maximum": None}
    assert told["schema"].startswith("at struct<city string, zip array<int>>, seen map<date, ")


def test_nulls_of_a_nested_column_are_counted_by_a_read(tmp_path: Path) -> None:
    lake = FileLake(tmp_path)
    snapshot = publish(lake, PLACE, DDL, [table(ROWS)])
    asked: list[str] = []

    def scan(aggregates: Sequence[str]) -> Sequence[Any]:
        asked.extend(aggregates)
        return [1, 0]

    written = Written(snapshot.schema, read_footers(lake, snapshot.objects), scan)
    with pytest.raises(CheckFailedError) as refused:
        measure([not_null("at", "n"), not_null("tags")], written, lambda _: 0)
    assert asked == ["count_if(`at` IS NULL)", "count_if(`tags` IS NULL)"]
    assert [each.measured for each in refused.value.results] == ["at has 1 nulls, n has 0 nulls", "tags has 0 nulls"]


def test_nested_columns_are_compared_by_their_values(tmp_path: Path) -> None:
    lake = FileLake(tmp_path)
    nan: dict[str, Any] = {"n": 4, "f": [{"x": float("nan")}], "m": [("a", 1), ("b", None)]}
    ddl = "n int, f array<struct<x double>>, m map<string, int>"
    rows = [nan, nan | {"n": 5}, nan | {"n": 6, "f": None}, nan | {"n": 7, "m": []}]
    changed = [nan | {"m": nan["m"][::-1]}, nan | {"n": 5, "f": []}, nan | {"n": 7, "m": None}, nan | {"n": 8}]
    kind = arrow_schema(Schema.parse(ddl))
    old, new = (
        publish(lake, Coordinate("e", version, "made"), ddl, [pa.Table.from_pylist(content, kind)])
        for version, content in (("v1", rows), ("v2", changed))
    )
    told = compare_rows(old, new, ["n"])
    assert (told.added, told.removed, told.changed, told.same) == (1, 1, 2, 1)
    assert told.columns == {"f": 1, "m": 1}
    with pytest.raises(KeyColumnsError, match="m is nested, and cannot be a key"):
        compare_rows(old, new, ["n", "m"])
