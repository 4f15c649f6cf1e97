"""What a run has published, read by everybody who never heard of us, and by the snippets of the documentation.

Spark's own Delta has its tests beside these: it needs a Spark of its own.
"""

import json
from collections.abc import Callable
from typing import Any

import deltalake
import polars as pl
import pytest

from assets.conformance import breaches
from assets.running.task import Published
from assets.snapshots.reader import open_snapshot
from assets.snapshots.verify import verify
from contracts.storage import commit_key, dataset_prefix
from tests.integration.every_type import (
    BOUNDED,
    COLUMNS,
    DDL,
    NESTED_DDL,
    NESTED_ROWS,
    NEVER_NULL_DDL,
    NEVER_NULL_ROWS,
    ROWS,
    plain,
)
from tests.integration.spark_mill import Mill, table_of
from tests.integration.spark_with_delta import SNIPPETS


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


Read = Callable[[Mill, Published], list[tuple[Any, ...]]]
READERS = pytest.mark.parametrize("read", [by_polars, by_deltalake, by_spark_alone, by_our_arrow, by_our_spark])


@READERS
def test_every_type_is_read_as_it_was_written(mill: Mill, published: Published, read: Read) -> None:
    assert plain(DDL, read(mill, published)) == plain(DDL, ROWS)


@READERS
def test_nested_types_are_read_as_they_were_written(mill: Mill, nested: Published, read: Read) -> None:
    assert plain(NESTED_DDL, read(mill, nested)) == plain(NESTED_DDL, NESTED_ROWS)


@READERS
def test_what_is_never_null_is_read_like_what_may_be(mill: Mill, never_null: Published, read: Read) -> None:
    assert plain(NEVER_NULL_DDL, read(mill, never_null)) == plain(NEVER_NULL_DDL, NEVER_NULL_ROWS)


def test_nested_columns_have_no_statistics_and_hide_no_row(mill: Mill, nested: Published) -> None:
    assert {name for file in nested.commit.files for name in file.null_counts} == {"n"}
    assert list(breaches(mill.lake, dataset_prefix(nested.commit.coordinate), deep=True)) == []
    scanned = pl.scan_delta(nested.url, storage_options=mill.reader_options)
    for condition, rows in [
        (pl.col("n") == 3, [3]),
        (pl.col("s").is_null(), [4]),
        (pl.col("s").struct.field("d") == -(2**31), [1]),
        (pl.col("words").list.len() == 0, [2]),
    ]:
        assert scanned.filter(condition).select("n").collect()["n"].to_list() == rows


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


def test_the_snippets_of_the_page_run(mill: Mill, revenue: Published) -> None:
    names: dict[str, Any] = {
        **mill.reader_names,
        "spark": mill.spark,
        "lake": mill.lake,
        "commit": mill.lake.get(commit_key(revenue.commit.coordinate)),
    }
    results: list[tuple[str, int]] = []
    for snippet in SNIPPETS:
        if "SparkSession" in snippet:
            continue  # it wants a Spark with Delta: see test_spark_delta.py
        exec(snippet, names)  # noqa: S102 - our own page
        for name in ("frame", "arrow", "recent"):
            if f"{name} = " in snippet:
                found = names[name]
                rows = found.count() if hasattr(found, "sparkSession") else getattr(found, "num_rows", None)
                results.append((name, len(found) if rows is None else rows))
    assert results == [("frame", 2), ("recent", 1), ("arrow", 2), ("recent", 1), ("frame", 2), ("arrow", 2)]
    assert names["origin"] == "revenue"
