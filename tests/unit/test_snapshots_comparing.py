"""What differs between two snapshots is what differs in their rows, and not how these lie in files."""

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.snapshots.comparing import KeyColumnsError, compare_commits, compare_rows
from assets.snapshots.reader import Snapshot
from assets.tables.arrow_types import arrow_schema
from assets.tables.footers import OutOfRangeError
from assets.tables.schema import Schema
from contracts.identity import Coordinate
from resources.lake.folder import FileLake
from tests.parquet_snapshots import publish


class Made:
    """Snapshots of one dataset, each a version of its own."""

    def __init__(self, folder: Path) -> None:
        self.lake = FileLake(folder)
        self.versions = 0

    def of(self, ddl: str, *files: Sequence[tuple[Any, ...]]) -> Snapshot:
        """Publish these rows, file by file."""
        self.versions += 1
        kind = arrow_schema(Schema.parse(ddl))
        tables = [
            pa.Table.from_pylist([dict(zip(kind.names, row, strict=True)) for row in rows], kind) for rows in files
        ]
        return publish(self.lake, Coordinate("e", f"v{self.versions}", "made"), ddl, tables)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_other_files_of_the_same_rows_are_no_other_data(made: Made) -> None:
    """A decimal that JSON cannot carry is no bound while it lies between two that are, and silences one file."""
    low, middle, high = ((Decimal(text),) for text in ("-5", "0.000001", "7"))
    one = made.of("d decimal(38,8)", [low, middle, high])
    two = made.of("d decimal(38,8)", [low, middle], [high])
    assert [found.statistics["d"].minimum for found in (one, two)] == [-5, None]
    for old, new in ((one, two), (two, one)):
        told = compare_commits(old, new)
        assert (told.data, told.origin.get("files") is not None) == ({}, True)


def test_what_both_commits_know_of_a_column_is_compared(made: Made) -> None:
    one = made.of("n int, d decimal(38,8)", [(1, Decimal(-5)), (2, Decimal(7))])
    two = made.of("n int, d decimal(38,8)", [(1, None), (3, Decimal("0.000001"))])
    assert compare_commits(one, two).data == {
        "column n": ({"nulls": 0, "minimum": 1, "maximum": 2}, {"nulls": 0, "minimum": 1, "maximum": 3}),
        "column d": ({"nulls": 0}, {"nulls": 1}),
    }
    assert compare_commits(one, made.of("n int", [(1,), (2,)])).data.keys() == {"schema", "column d"}


def test_keys_of_two_types_and_keys_named_twice_are_refused(made: Made) -> None:
    old, new = made.of("id int, name string", [(1, "a")]), made.of("id bigint, name string", [(1, "a")])
    with pytest.raises(KeyColumnsError, match="id was int and is bigint"):
        compare_rows(old, new, ["name", "id"])
    with pytest.raises(KeyColumnsError, match="id is named twice"):
        compare_rows(old, old, ["id", "name", "id"])
    assert compare_rows(old, new, ["name"]).same == 1


@pytest.mark.parametrize("kind", ["float", "double"])
def test_float_keys_are_compared_as_values(made: Made, kind: str) -> None:
    """As Spark's ``unique`` does: one zero, and one NaN, whatever bits make it one."""
    other_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001 + (1 << 40)))[0]
    ddl = f"id {kind}, name string"
    old = made.of(ddl, [(0.0, "zero"), (math.nan, "nan"), (0.5, "half")])
    new = made.of(ddl, [(-0.0, "zero"), (other_nan, "no number"), (1.5, "half")])
    assert old.to_arrow()["id"].type == new.to_arrow()["id"].type
    told = compare_rows(old, new, ["id"])
    assert (told.added, told.removed, told.changed, told.same) == (1, 1, 1, 1)
    assert told.examples["added"] == [{"id": 1.5}]
    for twice in ([(0.0, "a"), (-0.0, "b")], [(math.nan, "a"), (other_nan, "b")]):
        with pytest.raises(KeyColumnsError, match="1 rows share their key"):
            compare_rows(made.of(ddl, twice), old, ["id"])


@pytest.mark.parametrize("micros", [253_402_300_800_000_000, -62_135_596_800_000_001], ids=["10000", "0"])
def test_years_that_no_snapshot_may_hold_are_told_where_they_cannot_be_compared(made: Made, micros: int) -> None:
    """Such timestamps were published before they were refused; here they are, by a footer that tells of no bounds."""

    def of(version: str, ddl: str, **columns: list[Any]) -> Snapshot:
        rows = pa.table(columns).cast(arrow_schema(Schema.parse(ddl)))
        return publish(made.lake, Coordinate("e", version, "made"), ddl, [rows], options={"write_statistics": False})

    flat = of("v1", "id int, at timestamp", id=[1], at=[micros])
    assert compare_rows(flat, flat, ["id"]).same == 1
    assert compare_rows(flat, flat, ["at"]).same == 1
    with pytest.raises(OutOfRangeError, match="a key holds values outside the years 1 to 9999"):
        compare_rows(flat, of("v2", "id int, at timestamp", id=[1], at=[0]), ["at"])
    nested = of("v3", "id int, deep array<timestamp>", id=[1], deep=[[micros]])
    with pytest.raises(OutOfRangeError, match="deep holds values outside the years 1 to 9999"):
        compare_rows(nested, nested, ["id"])


@pytest.mark.parametrize(
    ("key", "old", "new", "is_same"),
    [
        ("string", [("a", 1), ("b", None)], [("b", None), ("a", 1)], True),
        ("string", [("a", 1)], [("a", 2)], False),
        ("string", [("a", 1)], [], False),
        ("string", [("a", 1), ("b", 3), ("a", 2)], [("b", 3), ("a", 1), ("a", 2)], True),
        ("string", [("a", 1), ("a", 2)], [("a", 2), ("a", 1)], False),
        ("string", [("a", 1), ("a", 1)], [("a", 1)], False),
        ("double", [(float("nan"), 1), (0.5, 2)], [(0.5, 2), (float("nan"), 1)], True),
        ("double", [(float("nan"), 1)], [(float("nan"), 2)], False),
    ],
    ids=["order", "value", "empty", "twice", "which of two", "once less", "NaN", "of NaN"],
)
def test_maps_are_compared_by_their_entries_even_with_a_key_twice(
    made: Made, key: str, old: list[Any], new: list[Any], is_same: bool
) -> None:
    """No map should have a key twice, but Parquet does not forbid it. Maps inside of others are no exception."""
    ddl = f"id int, m map<{key}, int>, deep array<struct<m map<{key}, int>>>"
    was, is_now = (made.of(ddl, [(1, entries, [{"m": entries}])]) for entries in (old, new))
    told = compare_rows(was, is_now, ["id"])
    assert told.columns == ({} if is_same else {"m": 1, "deep": 1})
