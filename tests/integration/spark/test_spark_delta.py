"""What a run has published, read by Spark's own Delta as the documentation says, and refused to whoever would write."""

from typing import Any

import pyarrow as pa
import pytest

from assets.running.task import Published
from assets.tables.schema import Schema
from assets.tables.values import literal
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
from tests.integration.spark_mill import Mill
from tests.integration.spark_with_delta import answers

FILTERED = [*BOUNDED, "h", "h3", "i", "l"]
INSIDE = {"s IS NULL": [(4,)], "s.d = -2147483648": [(1,)], "size(words) = 0": [(2,)], "m['d'].n = 4": [(1,)]}
"""Conditions that look into nested columns → the rows they find."""
REFUSED = {
    "INSERT INTO {0} SELECT * FROM {0}": "DELTA_UNSUPPORTED_FEATURES_FOR_WRITE",
    "ALTER TABLE {0} SET TBLPROPERTIES (delta.appendOnly = false)": "DELTA_UNSUPPORTED_FEATURES_FOR_WRITE",
    "INSERT OVERWRITE {0} SELECT * FROM {0}": "DELTA_CANNOT_MODIFY_APPEND_ONLY",
    "DELETE FROM {0}": "DELTA_CANNOT_MODIFY_APPEND_ONLY",
    "UPDATE {0} SET n = 0": "DELTA_CANNOT_MODIFY_APPEND_ONLY",
}


@pytest.fixture(scope="module")
def told(
    one_mill: Mill,
    published: Published,
    nested: Published,
    never_null: Published,
    revenue: Published,  # noqa: ARG001 - what the page reads
) -> dict[str, pa.Table | str]:
    """What Spark with Delta says, by question; all in one start of it."""
    table, of_nested, of_never_null = (
        f"delta.`{each.url.replace('s3://', 's3a://')}`" for each in (published, nested, never_null)
    )
    schema = Schema.parse(DDL)
    asked = {"rows": f"SELECT * FROM {table}"}  # noqa: S608 - our own names
    asked |= {"nested": f"SELECT * FROM {of_nested}", "never null": f"SELECT * FROM {of_never_null}"}  # noqa: S608
    asked |= {inside: f"SELECT n FROM {of_nested} WHERE {inside}" for inside in INSIDE}  # noqa: S608
    for column in FILTERED:
        for row in ROWS[:3]:
            value = literal(row[COLUMNS.index(column)], schema.type_of(column))
            asked[f"{column} of {row[0]}"] = f"SELECT n FROM {table} WHERE {column} = {value}"  # noqa: S608
        asked[f"{column} of 4"] = f"SELECT n FROM {table} WHERE {column} IS NULL"  # noqa: S608
    asked |= {change: change.format(table) for change in REFUSED}
    said = answers(one_mill.reader_names, list(asked.values()))
    return dict(zip(["frame", "recent", *asked], said, strict=True))


def rows(answer: pa.Table | str) -> list[tuple[Any, ...]]:
    assert not isinstance(answer, str), answer
    return [tuple(row.values()) for row in answer.to_pylist()]


def test_every_type_is_read_as_it_was_written(told: dict[str, pa.Table | str]) -> None:
    assert plain(DDL, rows(told["rows"])) == plain(DDL, ROWS)


def test_nested_types_are_read_as_they_were_written(told: dict[str, pa.Table | str]) -> None:
    assert plain(NESTED_DDL, rows(told["nested"])) == plain(NESTED_DDL, NESTED_ROWS)
    assert plain(NEVER_NULL_DDL, rows(told["never null"])) == plain(NEVER_NULL_DDL, NEVER_NULL_ROWS)
    assert {question: rows(told[question]) for question in INSIDE} == INSIDE


@pytest.mark.parametrize("column", FILTERED)
def test_no_row_that_matches_is_skipped(told: dict[str, pa.Table | str], column: str) -> None:
    found = {row[0]: rows(told[f"{column} of {row[0]}"]) for row in ROWS}
    assert found == {row[0]: [(row[0],)] for row in ROWS}


@pytest.mark.parametrize("change", REFUSED)
def test_it_refuses_to_change_a_snapshot(told: dict[str, pa.Table | str], change: str) -> None:
    assert f"[{REFUSED[change]}]" in str(told[change])


def test_the_snippet_of_the_page_runs(told: dict[str, pa.Table | str]) -> None:
    assert [len(rows(told[name])) for name in ("frame", "recent")] == [2, 1]
