"""Nested columns with real Spark: delivered as JSON Lines and Parquet, held to what is declared, checked, compared."""

import io
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.declaration import Action, Format, action, holds, landing, not_null
from assets.errors import ActionContractError, CheckFailedError, InputCorruptError
from assets.snapshots.comparing import compare_rows
from assets.snapshots.reader import open_snapshot
from tests.integration.every_type import plain
from tests.integration.spark.test_foreign_readers import by_deltalake
from tests.integration.spark_mill import Mill, table_of

DDL = "n bigint, at struct<city string, day date>, tags array<int>, more map<string, decimal(9,2)>"
LINES: list[dict[str, Any]] = [
    {"n": 1, "at": {"city": "ä", "day": "2024-10-05"}, "tags": [1, None], "more": {"b": 2.5, "a": None}},
    {"n": 2, "at": {"day": None, "else": 1}, "tags": [], "more": {}},
    {"n": 3},
]
ROWS: list[tuple[Any, ...]] = [
    (1, ("ä", date(2024, 10, 5)), [1, None], {"b": Decimal("2.50"), "a": None}),
    (2, (None, None), [], {}),
    (3, None, None, None),
]


def ingest(kind: Format, only: str = "*") -> Action:
    @action(inputs={"rows": landing(kind, DDL)}, output="kept", schema=DDL if only == "*" else f"{only} bigint")
    def kept(rows: Any) -> Any:
        return rows.select(only)

    return kept


def json_lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(tag: pa.DataType) -> bytes:
    kinds = {
        "n": pa.int64(),
        "at": pa.struct([("city", pa.string()), ("day", pa.date32())]),
        "tags": pa.large_list(tag),
        "more": pa.map_(pa.string(), pa.decimal128(9, 2)),
    }
    rows = [
        {
            "n": n,
            "at": at and {"city": at[0], "day": at[1]},
            "tags": tags,
            "more": more if more is None else list(more.items()),
        }
        for n, at, tags, more in ROWS
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(kinds.items()))), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("kind", "body"), [("jsonl", json_lines(*LINES)), ("parquet", parquet(pa.int32()))], ids=["jsonl", "parquet"]
)
def test_nested_columns_are_delivered(mill: Mill, kind: Format, body: bytes) -> None:
    mill.deliver("rows", f"a.{kind}", body)
    assert plain(DDL, by_deltalake(mill, mill.run(ingest(kind)))) == plain(DDL, ROWS)


def test_a_row_is_bad_when_something_deep_in_it_is(mill: Mill) -> None:
    bad: list[dict[str, Any]] = [
        {"at": {"day": "soon"}},
        {"at": {"day": "2024-10-05 and more"}},
        {"at": 5},
        {"at": []},
        {"tags": [1, "x"]},
        {"tags": {"0": 1}},
        {"tags": [1.5]},
        {"more": {"a": "b"}},
        {"more": {"a": 2.555}},
        {"more": [1]},
    ]
    mill.deliver("rows", "a.jsonl", json_lines(LINES[0], *bad, {"n": 5}))
    with pytest.raises(InputCorruptError, match=r"10 of 12 rows .* a\.jsonl row 2"):
        mill.run(ingest("jsonl", only="n"))


def test_another_type_deep_in_a_column_is_refused(mill: Mill) -> None:
    mill.deliver("rows", "a.parquet", parquet(pa.int64()))
    with pytest.raises(InputCorruptError, match="wrong types: tags array<bigint> instead of tags array<int>"):
        mill.run(ingest("parquet"))


def test_another_type_deep_in_a_result_is_refused(mill: Mill) -> None:
    @action(inputs={}, output="made", schema="a array<int>")
    def made() -> Any:
        return mill.spark.sql("SELECT array(1L) AS a")

    with pytest.raises(ActionContractError, match="wrong types: a array<bigint> instead of a array<int>"):
        mill.run(made)


def test_checks_of_nested_columns(mill: Mill) -> None:
    checks = [not_null("n", "tags"), holds("size(tags) < 2"), holds("at.city <> 'x'")]
    with pytest.raises(CheckFailedError) as refused:
        mill.run(table_of(mill, DDL, ROWS, checks=checks))
    told = [(each.passed, each.measured) for each in refused.value.results]
    assert told == [
        (False, "n has 0 nulls, tags has 1 nulls"),
        (False, "1 rows break it"),
        (True, "0 rows break it"),
    ]


def test_rows_are_compared_with_their_nested_columns(mill: Mill) -> None:
    old = mill.run(table_of(mill, DDL, ROWS, checks=[not_null("n")]))
    changed = [ROWS[0], (2, (None, None), [None], {}), (3, ("x", None), None, None)]
    new = mill.run(table_of(mill, DDL, changed), data_version="v2")
    before, after = (open_snapshot(mill.lake, each.commit.coordinate) for each in (old, new))
    told = compare_rows(before, after, ["n"])
    assert (told.changed, told.same, told.columns) == (2, 1, {"at": 1, "tags": 1})
