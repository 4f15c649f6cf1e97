"""Footers: the counts and bounds of every allow-listed type, and only bounds that JSON carries exactly."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.checks import accepted_range, at_least, at_most, not_null
from assets.errors import CheckFailedError
from assets.running.audit import Written, measure
from assets.tables.footers import Footer, encode_bound, read_footers
from contracts.storage import CorruptSnapshotError
from resources.lake.folder import FileLake


@pytest.fixture
def footer_of(tmp_path: Path) -> Callable[..., Footer]:
    def read(table: pa.Table, **options: Any) -> Footer:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        lake = FileLake(tmp_path)
        lake.put("folder/a.parquet", sink.getvalue().to_pybytes())
        (footer,) = read_footers(lake, lake.list("folder/"))
        return footer

    return read


def test_every_type_is_named_counted_and_bounded_where_it_is_safe(footer_of: Callable[..., Footer]) -> None:
    moment = datetime(2024, 10, 5, tzinfo=UTC)
    footer = footer_of(
        pa.table(
            {
                "flag": pa.array([True, None]),
                "tiny": pa.array([1, -2], pa.int8()),
                "big": pa.array([2**62, None], pa.int64()),
                "real": pa.array([1.5, 2.5]),
                "money": pa.array([Decimal("12.34"), Decimal("-0.50")], pa.decimal128(18, 2)),
                "text": pa.array(["a", "b"]),
                "raw": pa.array([b"a", b"b"]),
                "day": pa.array([date(2024, 10, 5), date(1999, 1, 1)]),
                "at": pa.array([moment, moment], pa.timestamp("us", "UTC")),
                "nothing": pa.array([None, None], pa.int32()),
            }
        )
    )
    assert str(footer.schema) == (
        "flag boolean, tiny tinyint, big bigint, real double, money decimal(18,2), text string, raw binary, day date, "
        "at timestamp, nothing int"
    )
    assert footer.rows == 2
    assert footer.null_counts == dict.fromkeys(footer.schema.names, 0) | {"flag": 1, "big": 1, "nothing": 2}
    assert footer.min_values == {"tiny": -2, "big": 2**62, "money": -0.5, "day": "1999-01-01"}
    assert footer.max_values == {"tiny": 1, "big": 2**62, "money": 12.34, "day": "2024-10-05"}


def test_row_groups_are_added_up(footer_of: Callable[..., Footer]) -> None:
    table = pa.table({"n": pa.array([5, None, None, None, -7, 3], pa.int64())})
    footer = footer_of(table, row_group_size=2)
    assert (footer.rows, footer.null_counts) == (6, {"n": 3})
    assert (footer.min_values, footer.max_values) == ({"n": -7}, {"n": 5})


def test_a_footer_larger_than_the_first_read_is_read_whole(footer_of: Callable[..., Footer]) -> None:
    wide = pa.table({f"column_{index:04d}": pa.array([index], pa.int64()) for index in range(1500)})
    footer = footer_of(wide)
    assert len(footer.schema.columns) == 1500
    assert footer.max_values["column_1499"] == 1499


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (Decimal("999999999999999.99"), None),
        (Decimal("1234567890123.45"), 1234567890123.45),
        (Decimal("0.00001"), None),
        (Decimal("5.00"), 5.0),
        (2**63 - 1, 2**63 - 1),
        (date(2024, 1, 2), "2024-01-02"),
        ("text", None),
    ],
)
def test_a_bound_is_exact_or_absent(value: object, bound: object) -> None:
    assert encode_bound(value) == bound


def no_scan(aggregates: Sequence[str]) -> Sequence[Any]:
    raise AssertionError(f"the rows were read for {aggregates}")


def input_of_four(name: str) -> int:
    assert name == "orders"
    return 4


def test_what_footers_tell_exactly_is_answered_without_reading_a_row(footer_of: Callable[..., Footer]) -> None:
    table = pa.table(
        {
            "n": pa.array([1, None, 7], pa.int64()),
            "money": pa.array([Decimal("0.10"), Decimal("2.50"), None], pa.decimal128(18, 2)),
            "day": pa.array([date(2024, 1, 1), date(2024, 1, 9), None]),
            "nothing": pa.array([None, None, None], pa.float64()),
        }
    )
    footer = footer_of(table)
    checks = [
        accepted_range("n", at_least=1, at_most=7),
        accepted_range("money", at_least=Decimal("0.1"), at_most=2.5),
        accepted_range("day", at_most=date(2024, 1, 9)),
        accepted_range("nothing", at_least=0.5),
        at_least(rows=0.75, per="orders"),
        at_most(rows=3),
    ]
    results = measure(checks, Written(footer.schema, [footer, footer_of(table.slice(0, 0))], no_scan), input_of_four)
    assert [(result.name, result.measured) for result in results] == [
        ("accepted_range(n, at_least=1, at_most=7)", "n is 1 to 7"),
        ("accepted_range(money, at_least=0.1, at_most=2.5)", "money is 0.1 to 2.5"),
        ("accepted_range(day, at_most='2024-01-09')", "day is 2024-01-01 to 2024-01-09"),
        ("accepted_range(nothing, at_least=0.5)", "nothing has no values"),
        ("at_least(rows=0.75, per=orders)", "3 rows, orders has 4"),
        ("at_most(rows=3)", "3 rows"),
    ]
    assert all(result.passed for result in results)
    tight = [
        accepted_range("n", at_least=2),
        accepted_range("money", at_most=2.49),
        accepted_range("day", at_least="2024-01-02"),
        at_least(rows=0.76, per="orders"),
        at_most(rows=2),
    ]
    with pytest.raises(CheckFailedError) as refused:
        measure(tight, Written(footer.schema, [footer], no_scan), input_of_four)
    assert [result.passed for result in refused.value.results] == [False] * len(tight)


def test_bounds_that_a_footer_does_not_tell_exactly_are_scanned(footer_of: Callable[..., Footer]) -> None:
    footer = footer_of(pa.table({"n": pa.array([Decimal("999999999999999.99")], pa.decimal128(18, 2))}))
    asked: list[str] = []

    def scan(aggregates: Sequence[str]) -> Sequence[Any]:
        asked.extend(aggregates)
        return [2]

    with pytest.raises(CheckFailedError, match="2 rows break it"):
        measure([accepted_range("n", at_most=1, at_least=-1)], Written(footer.schema, [footer], scan), input_of_four)
    assert asked == ["count_if(NOT (`n` >= -1BD AND `n` <= 1BD))"]


def test_nulls_that_a_footer_does_not_count_are_counted_by_a_read(footer_of: Callable[..., Footer]) -> None:
    counting = footer_of(pa.table({"n": [1, 2], "word": ["a", None]}))
    silent = footer_of(pa.table({"n": [None, 2], "word": ["x" * 5_000, None]}), write_statistics=["n"])
    assert silent.null_counts == {"n": 1}
    asked: list[str] = []

    def scan(aggregates: Sequence[str]) -> Sequence[Any]:
        asked.extend(aggregates)
        return [2]

    with pytest.raises(CheckFailedError, match="n has 1 nulls, word has 2 nulls"):
        measure([not_null("n", "word")], Written(counting.schema, [counting, silent], scan), input_of_four)
    assert asked == ["count_if(`word` IS NULL)"]


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", b"x" * 100, b"PAR1" + b"\xff" * 4 + b"PAR1", b"\0" * 4 + b"\4\0\0\0PAR1"]
)
def test_what_is_not_parquet_is_corrupt(tmp_path: Path, body: bytes) -> None:
    lake = FileLake(tmp_path)
    lake.put("folder/a.parquet", body)
    with pytest.raises(CorruptSnapshotError):
        read_footers(lake, lake.list("folder/"))
