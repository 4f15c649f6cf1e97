"""A file of an input that was replaced after its commit: whatever it holds, no run reads it."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.declaration import action
from assets.errors import InputCorruptError
from assets.running.task import Published
from contracts.reasons import ReasonCode
from contracts.storage import token_prefix
from tests.integration.spark_mill import Mill, table_of

SCHEMA = "n bigint, word string"
ROWS = [(1, "a" * 99), (2, "b" * 99), (3, "c" * 99)]


@action(inputs={"made": "made"}, output="again", schema=SCHEMA)
def again(made: Any) -> Any:
    return made


def data_file(published: Published) -> str:
    (file,) = published.commit.files
    return token_prefix(published.commit.coordinate, published.commit.provenance.token) + file.name


def sound(rows: list[tuple[int, str]], columns: list[str], size: int) -> bytes:
    """Return a sound Parquet file of ``size`` bytes."""
    table = pa.Table.from_pylist([dict(zip(["n", "word"], row, strict=True)) for row in rows]).select(columns)
    for padding in range(size):
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({"padding": "x" * padding})
        if len(sink.getvalue()) == size:
            return sink.getvalue()
    raise AssertionError(f"there is no such file of {size} bytes")


@pytest.mark.parametrize(
    ("rows", "columns", "more", "told"),
    [
        (ROWS, ["n", "word"], 1, "bytes, the commit says"),
        ([*ROWS, (4, "d")], ["n", "word"], 0, "has 4 rows, the commit says 3"),
        (ROWS, ["n"], 0, "missing columns: ['word']"),
        ([(7, "a"), (8, "b"), (9, "c")], ["n", "word"], 0, "other null counts or bounds"),
    ],
    ids=["another size", "a row more", "a column less", "other numbers"],
)
def test_a_sound_file_that_is_not_what_the_commit_says_is_refused(
    mill: Mill, rows: list[tuple[int, str]], columns: list[str], more: int, told: str
) -> None:
    published = mill.run(table_of(mill, SCHEMA, ROWS, sort_by=["n"]))
    assert mill.run(again).commit.rows == 3
    (file,) = published.commit.files
    mill.lake.put(data_file(published), sound(rows, columns, file.size + more))
    refused(mill, told)


def test_other_rows_of_the_same_size_count_and_bounds_are_told_by_the_etag(mill: Mill) -> None:
    published = mill.run(table_of(mill, SCHEMA, ROWS, sort_by=["n"]))
    rows = [(n, word.replace("b", "x")) for n, word in ROWS]
    other = mill.run(table_of(mill, SCHEMA, rows, sort_by=["n"]), data_version="other")
    assert other.commit.files[0].size == published.commit.files[0].size
    mill.lake.put(data_file(published), mill.lake.get(data_file(other)) or b"")
    refused(mill, "was replaced: its ETag is")


def refused(mill: Mill, told: str) -> None:
    with pytest.raises(InputCorruptError):
        mill.run(again, data_version="v2", inputs={"made": {"entity_id": mill.entity, "data_version": "v1"}})
    code, message = mill.failure
    assert (code, told in message) == (ReasonCode.INPUT_CORRUPT, True), message
    assert not [found.key for found in mill.lake.list(f"{mill.entity}/v2/")]
