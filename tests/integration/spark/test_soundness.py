"""What Spark passes on and other readers refuse: text that is not UTF-8, too many digits, a key twice in a map."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.declaration import Action, action, landing
from assets.errors import ActionContractError, InputCorruptError
from contracts.reasons import ReasonCode
from tests.integration.spark_mill import Mill
from tests.parquet_snapshots import parquet

LATIN_1 = pa.array([b"K\xf6ln", None, b"Bonn"], pa.binary())
TEXTS = pa.Array.from_buffers(pa.string(), 3, LATIN_1.buffers())
TEXT = "CAST(X'4BF6' AS string)"


def numbers(precision: int, number: Decimal) -> pa.Array:
    """A number and 1, in a type of so many digits, two of them behind the point, whether they fit or not."""
    return pa.Array.from_buffers(
        pa.decimal128(precision, 2), 2, pa.array([number, Decimal("1.00")], pa.decimal128(38, 2)).buffers()
    )


def entries(key: pa.Array, item: pa.Array) -> pa.Array:
    """One map of all these keys and values."""
    return pa.MapArray.from_arrays([0, len(key)], key, item)


def lists(element: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays([0, len(element)], element)


TWICE = entries(pa.array(["a", "b", "a"]), pa.array([1, 2, 3], pa.int32()))


def refused(mill: Mill, declared: Action, code: ReasonCode, told: str) -> None:
    with pytest.raises(ActionContractError if code is ReasonCode.ACTION_CONTRACT else InputCorruptError):
        mill.run(declared)
    found, message = mill.failure
    assert (found, told in message) == (code, True), message
    assert not [found for found in mill.lake.list(f"{mill.entity}/") if "_delta_log" in found.key]


@pytest.mark.parametrize(
    ("kind", "made", "told"),
    [
        ("string", TEXT, "word holds text that is not UTF-8"),
        ("struct<n int, s string>", f"named_struct('n', 1, 's', {TEXT})", "word.s holds text that"),
        ("array<array<string>>", f"array(array('a', NULL), array({TEXT}))", "word.element.element holds text that"),
        ("map<string, int>", f"map('a', 1, {TEXT}, 2)", "word.key holds text that"),
        ("map<int, struct<s string>>", f"map(1, named_struct('s', {TEXT}))", "word.value.s holds text that"),
        ("map<int, int>", "CAST(map(1.2D, 1, 1.5D, 2) AS map<int, int>)", "word holds a map with a key twice"),
        ("array<map<int, int>>", "array(CAST(map(1.2D, 1, 1.5D, 2) AS map<int, int>))", "word.element holds a map"),
    ],
)
@pytest.mark.parametrize("sort_by", [[], ["n"]])
def test_what_an_action_makes_is_the_actions_own_fault(
    mill: Mill, kind: str, made: str, told: str, sort_by: list[str]
) -> None:
    @action(inputs={}, output="made", schema=f"n bigint, word {kind}", sort_by=sort_by)
    def unsound() -> Any:
        return mill.spark.range(3).selectExpr("id AS n", f"if(id = 1, {made}, NULL) AS word")

    refused(mill, unsound, ReasonCode.ACTION_CONTRACT, f"action unsound: the result cannot be published: column {told}")


@pytest.mark.parametrize("with_bounds", [True, False], ids=["bounds", "no bounds"])
@pytest.mark.parametrize(
    ("kind", "stored", "as_integer"),
    [
        ("string", TEXTS, False),
        ("struct<s string>", pa.StructArray.from_arrays([TEXTS], ["s"]), False),
        ("array<string>", lists(TEXTS), False),
        ("map<string, int>", TWICE, False),
        ("array<map<string, int>>", lists(TWICE), False),
        ("decimal(5,2)", numbers(5, Decimal("1234567.89")), True),
        ("decimal(5,2)", numbers(5, Decimal("-1000.00")), False),
        ("decimal(12,2)", numbers(12, Decimal("123456789012.34")), True),
    ],
)
def test_what_is_delivered_is_the_deliverys(
    mill: Mill, kind: str, stored: pa.Array, as_integer: bool, with_bounds: bool
) -> None:
    options = {"write_statistics": with_bounds, "store_decimal_as_integer": as_integer, "use_dictionary": with_bounds}
    rows = pa.table({"n": list(range(len(stored))), "word": stored})
    mill.deliver("rows", "a.parquet", parquet(rows.slice(1), **options))
    mill.deliver("rows", "b.parquet", parquet(rows, **options))
    schema = f"n bigint, word {kind}"

    @action(inputs={"rows": landing("parquet", schema)}, output="kept", schema="n bigint")
    def kept(rows: Any) -> Any:
        return rows.where("word IS NOT NULL").select("n")

    told = "word" if with_bounds and "decimal" in kind else f"1 of {2 * len(stored) - 1} rows below"
    refused(mill, kept, ReasonCode.INPUT_CORRUPT, told)


def test_bounds_tell_of_digits_deep_in_a_column(mill: Mill) -> None:
    stored = lists(numbers(5, Decimal("1000.00")))
    mill.deliver("rows", "a.parquet", parquet(pa.table({"n": [1], "word": stored})))

    @action(inputs={"rows": landing("parquet", "n bigint, word array<decimal(5,2)>")}, output="kept", schema="n bigint")
    def kept(rows: Any) -> Any:
        return rows.select("n")

    refused(mill, kept, ReasonCode.INPUT_CORRUPT, "column word.list.element holds more digits than decimal(5,2)")


def test_digits_that_an_action_passes_on_are_told_by_the_footers(mill: Mill, tmp_path: Path) -> None:
    stored = pa.table({"n": numbers(5, Decimal("-1000.00"))})
    (tmp_path / "a.parquet").write_bytes(parquet(stored))

    @action(inputs={}, output="made", schema="n decimal(5,2)")
    def passed_on() -> Any:
        return mill.spark.read.parquet(f"file://{tmp_path}/a.parquet")

    refused(mill, passed_on, ReasonCode.ACTION_CONTRACT, "column n holds more digits than decimal(5,2)")


def test_what_is_sound_stays_as_it_was(mill: Mill) -> None:
    largest = pa.array([Decimal("999.99"), Decimal("-999.99"), None], pa.decimal128(5, 2))
    words = pa.array(["Köln\0🜨", "", None])
    part = pa.array([Decimal("0.99"), Decimal("-0.99"), None], pa.decimal128(2, 2))
    maps = pa.array([[("a", None), ("b", "ä")], [], None], pa.map_(pa.string(), pa.string()))
    rows = pa.table({"price": largest, "part": part, "word": words, "more": maps})
    mill.deliver("rows", "a.parquet", parquet(rows))
    schema = "price decimal(5,2), part decimal(2,2), word string, more map<string, string>"

    @action(inputs={"rows": landing("parquet", schema)}, output="kept", schema=schema)
    def kept(rows: Any) -> Any:
        return rows

    found = mill.read(mill.run(kept)).rows()
    assert [row[:3] for row in found] == [tuple(row.values())[:3] for row in rows.to_pylist()]
    assert found[0][3] == {"a": None, "b": "ä"}
