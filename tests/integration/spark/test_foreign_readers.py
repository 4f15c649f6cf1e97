"""What a run has published, read by everybody who never heard of us, and by the snippets of the documentation.

Spark's own Delta is not among them: its package is not a dependency. Spark reads the files that the commit names.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, isnan, nan
from typing import Any

import deltalake
import polars as pl
import pytest

from assets.conformance import breaches
from assets.declaration import action
from assets.running.runner import Published
from assets.snapshots.reader import open_snapshot
from assets.snapshots.verify import verify
from contracts.storage import commit_key, dataset_prefix
from tests.integration.spark_mill import Mill, table_of
from tests.s3_server import ACCESS_KEY, SECRET_KEY
from tests.test_architecture import ROOT

DDL = """
    n int, a boolean, b tinyint, c smallint, d int, e bigint, f float, g double, h decimal(38,4), h2 decimal(9,2),
    h3 decimal(18,18), i string, j binary, k date, l timestamp
"""
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
FLOAT_MAX, DOUBLE_MAX = 3.4028234663852886e38, 1.7976931348623157e308
ROWS: list[tuple[Any, ...]] = [
    (
        *(1, True, -128, -(2**15), -(2**31), -(2**63), -FLOAT_MAX, -DOUBLE_MAX, Decimal(f"-{'9' * 34}.9999")),
        *(Decimal("-9999999.99"), Decimal(f"-0.{'9' * 18}"), "", b"", date(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC)),
    ),
    (
        *(2, False, 127, 2**15 - 1, 2**31 - 1, 2**63 - 1, FLOAT_MAX, DOUBLE_MAX, Decimal(f"{'9' * 34}.9999")),
        *(Decimal("9999999.99"), Decimal(f"0.{'9' * 18}"), "ä\n\0🜨", b"\0\xff", date(9999, 12, 31), LAST),
    ),
    (
        *(3, None, 0, 0, 0, 0, nan, -inf, Decimal("0.0000"), Decimal("0.01"), Decimal(f"0.{'0' * 17}1"), "a" * 5000),
        *(b"x" * 5000, date(1582, 10, 4), datetime(1582, 10, 15, 0, 0, 0, 1, tzinfo=UTC)),
    ),
    (4, *(None,) * 14),
]


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in order, whose values are equal exactly when they are the same; floats of any width by what they hold."""

    def value(found: Any) -> Any:
        if isinstance(found, float):
            return "NaN" if isnan(found) else found
        if isinstance(found, datetime):
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return bytes(found) if isinstance(found, bytearray) else found

    return [tuple(map(value, row)) for row in sorted(rows)]


def by_polars(mill: Mill, published: Published) -> list[tuple[Any, ...]]:
    return pl.read_delta(published.url, storage_options=mill.reader_options).rows()


def by_deltalake(mill: Mill, published: Published) -> list[tuple[Any, ...]]:
    table = deltalake.DeltaTable(published.url, storage_options=mill.reader_options).to_pyarrow_table()
    return [tuple(row.values()) for row in table.to_pylist()]


def by_spark_alone(mill: Mill, published: Published) -> list[tuple[Any, ...]]:
    lines = [json.loads(line) for line in published.commit.encode().splitlines()]
    files = [f"{published.url.replace('s3://', 's3a://')}/{line['add']['path']}" for line in lines if "add" in line]
    # As Arrow: Spark's own way to Python has no year 1 in a zone west of Greenwich, nor 9999 in one east of it.
    return [tuple(row.values()) for row in mill.spark.read.parquet(*files).toArrow().to_pylist()]


def by_our_arrow(mill: Mill, published: Published) -> list[tuple[Any, ...]]:
    table = open_snapshot(mill.lake, published.commit.coordinate).to_arrow()
    return [tuple(row.values()) for row in table.to_pylist()]


def by_our_spark(mill: Mill, published: Published) -> list[tuple[Any, ...]]:
    frame = open_snapshot(mill.lake, published.commit.coordinate).to_spark(mill.spark)
    return [tuple(row.values()) for row in frame.toArrow().to_pylist()]


@pytest.fixture(scope="module")
def published(one_mill: Mill) -> Published:
    one_mill.entity = "published-once"
    return one_mill.run(table_of(one_mill, DDL, ROWS))


@pytest.mark.parametrize("read", [by_polars, by_deltalake, by_spark_alone, by_our_arrow, by_our_spark])
def test_every_type_is_read_as_it_was_written(
    mill: Mill, published: Published, read: Callable[[Mill, Published], list[tuple[Any, ...]]]
) -> None:
    assert plain(read(mill, published)) == plain(ROWS)


COLUMNS = [word.split()[0] for word in re.split(r",(?![^()]*\))", DDL)]
BOUNDED = ["b", "c", "d", "e", "h2", "k"]
"""Columns whose bounds the commit tells of each file: those of ``h`` and ``h3`` no JSON number carries."""


@pytest.mark.parametrize("column", [*BOUNDED, "h", "h3", "i", "k", "l"])
def test_polars_skips_no_row_that_matches(mill: Mill, published: Published, column: str) -> None:
    scanned = pl.scan_delta(published.url, storage_options=mill.reader_options)
    for row in ROWS[:3]:
        value = pl.lit(row[COLUMNS.index(column)], dtype=scanned.collect_schema()[column])
        assert scanned.filter(pl.col(column) == value).select("n").collect()["n"].to_list() == [row[0]]
    assert scanned.filter(pl.col(column).is_null()).select("n").collect()["n"].to_list() == [4]


def test_deltalake_filters_by_columns_with_bounds_only(mill: Mill, published: Published) -> None:
    """Where a file's statistics lack a bound it takes the bound for null, and skips the file, whoever wrote it.

    When this fails, deltalake has learnt it: docs/reading-snapshots.md can drop its warning.
    """
    table = deltalake.DeltaTable(published.url, storage_options=mill.reader_options)

    def found(column: str, row: tuple[Any, ...]) -> list[int]:
        wanted = [(column, "=", row[COLUMNS.index(column)])]
        rows: list[int] = table.to_pyarrow_table(columns=["n"], filters=wanted)["n"].to_pylist()
        return rows

    assert {column: found(column, ROWS[0]) for column in BOUNDED} == {column: [1] for column in BOUNDED}
    assert found("l", ROWS[0]) == []


def test_what_spark_wrote_conforms_and_its_pages_have_checksums(mill: Mill) -> None:
    made = mill.run(table_of(mill, "word string", [("checksum",)]))
    home = made.commit.coordinate
    assert list(breaches(mill.lake, dataset_prefix(home), deep=True)) == []
    snapshot = open_snapshot(mill.lake, home)
    (file,) = [each for each, told in zip(snapshot.objects, snapshot.commit.files, strict=True) if told.rows]
    assert file.etag is not None
    body = mill.lake.get(file.key) or b""
    # Some byte of the only page; whether it is a value's or a level's is the same to a checksum.
    place = body.index(b"checksum") if b"checksum" in body[: len(body) // 3] else len(body) // 8
    mill.lake.put(file.key, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
    told = " ".join(verify(mill.lake, home, deep=True).problems)
    assert "was replaced" in told
    assert "does not decode" in told


def test_the_snippets_of_the_page_run(mill: Mill) -> None:
    @action(inputs={}, output="revenue", schema="month date, orders bigint")
    def revenue() -> Any:
        return mill.spark.createDataFrame(
            [(date(2024, 9, 1), 39), (date(2024, 10, 1), 41)], "month date, orders bigint"
        )

    made = mill.run(revenue, entity_id="cust_8842", data_version="v2024.10.05")
    names: dict[str, Any] = {
        "bucket": "lake",
        "endpoint": mill.store.s3_endpoint,
        "key": ACCESS_KEY,
        "secret": SECRET_KEY,
        "spark": mill.spark,
        "lake": mill.lake,
        "commit": mill.lake.get(commit_key(made.commit.coordinate)),
    }
    results: list[tuple[str, int]] = []
    for snippet in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "reading-snapshots.md").read_text(), re.DOTALL):
        exec(snippet, names)  # noqa: S102 - our own page
        for name in ("frame", "arrow", "recent"):
            if f"{name} = " in snippet:
                found = names[name]
                rows = found.count() if hasattr(found, "sparkSession") else getattr(found, "num_rows", None)
                results.append((name, len(found) if rows is None else rows))
    assert results == [("frame", 2), ("recent", 1), ("arrow", 2), ("recent", 1), ("frame", 2), ("arrow", 2)]
    assert names["origin"] == "revenue"
