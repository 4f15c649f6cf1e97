"""Footers of writers that are not ours: what is noted beside the data, and what cannot be read, or may not be held."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.tables.footers import Footer, OutOfRangeError, read_footers
from contracts.storage import CorruptSnapshotError
from resources.lake.folder import FileLake
from tests.parquet_snapshots import parquet

MOMENT = datetime(2024, 10, 5, tzinfo=UTC)
WORDS = pa.array(["a", "b"])
DAY_MICROS = 86_400_000_000
TOO_LATE = (date.max - date(1970, 1, 1)).days + 1
"""What ``date_add(DATE'9999-12-31', 1)`` makes, as it is stored."""
TOO_EARLY = (date.min - date(1970, 1, 1)).days - 1


def footer_of(folder: Path, body: bytes) -> Footer:
    lake = FileLake(folder)
    lake.put("folder/a.parquet", body)
    (footer,) = read_footers(lake, lake.list("folder/"))
    return footer


def written(table: pa.Table, **options: Any) -> bytes:
    """The table as Arrow, pandas and Polars write it: with a note of how they had it in memory."""
    return parquet(table, store_schema=True, **options)


@pytest.mark.parametrize(
    ("values", "kind", "fits"),
    [
        ([TOO_LATE - 1, TOO_EARLY + 1], pa.date32(), True),
        ([0, TOO_LATE], pa.date32(), False),
        ([TOO_EARLY, 0], pa.date32(), False),
        ([TOO_LATE * DAY_MICROS - 1, (TOO_EARLY + 1) * DAY_MICROS], pa.timestamp("us", "UTC"), True),
        ([0, TOO_LATE * DAY_MICROS], pa.timestamp("us", "UTC"), False),
        ([(TOO_EARLY + 1) * DAY_MICROS - 1, 0], pa.timestamp("us", "UTC"), False),
    ],
)
def test_years_that_no_snapshot_may_hold_are_told_by_column(
    tmp_path: Path, values: list[int], kind: pa.DataType, fits: bool
) -> None:
    stored = pa.array(values, pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), stored)
    for name, column in {"valid_to": stored, "nested": pa.StructArray.from_arrays([lists], ["days"])}.items():
        body = written(pa.table({"n": pa.array([1, 2], pa.int64()), name: column}), row_group_size=1)
        if fits:
            assert footer_of(tmp_path, body).rows == 2
            continue
        with pytest.raises(OutOfRangeError, match=rf"column {name}[a-z.]* holds values outside the years 1 to 9999"):
            footer_of(tmp_path, body)


def list_of_two() -> bytes:
    """A struct of two fields that its footer, which is mended for it, calls a list: Arrow has no such type."""
    pair = pa.StructArray.from_arrays([WORDS, WORDS], ["a", "b"])
    body = parquet(pa.table({"pair": pair}))
    length, field = int.from_bytes(body[-8:-4], "little"), b"\x18\x04pair\x15\x04"
    rest, footer = body[: -8 - length], body[-8 - length : -8]
    assert footer.count(field + b"\0") == 1
    footer = footer.replace(field, field + b"\x15\x06")
    return rest + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def name_of_no_text() -> bytes:
    return parquet(pa.table({"name": [1]})).replace(b"name", b"n\xff\xfee")


@pytest.mark.parametrize("body", [list_of_two(), name_of_no_text()], ids=["no Arrow type", "no text"])
def test_what_arrow_cannot_describe_is_corrupt(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(CorruptSnapshotError, match="is not a readable Parquet file"):
        footer_of(tmp_path, body)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), "timestamp"),
        (pa.array([MOMENT], pa.timestamp("us", "+00:00")), "timestamp"),
        (WORDS.dictionary_encode(), "string"),
        (WORDS.cast(pa.binary()).dictionary_encode(), "binary"),
        (WORDS.cast(pa.large_string()), "string"),
        (WORDS.cast(pa.string_view()), "string"),
        (WORDS.cast(pa.large_binary()), "binary"),
        (WORDS.cast(pa.binary_view()), "binary"),
        (pa.array([date(2024, 10, 5)], pa.date64()), "date"),
        (pa.array([1], pa.duration("us")), "bigint"),
        (pa.array(["{}"], pa.json_()), "string"),
        (pa.array([Decimal("1.50")], pa.decimal64(9, 2)), "decimal(9,2)"),
        (pa.array([["a"]], pa.large_list(pa.dictionary(pa.int32(), pa.string()))), "array<string>"),
        (pa.array([["a", "b"]], pa.list_(pa.large_string(), 2)), "array<string>"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_what_a_writer_notes_of_its_memory_changes_no_type(tmp_path: Path, column: pa.Array, kind: str) -> None:
    assert str(footer_of(tmp_path, written(pa.table({"a": column}))).schema) == f"a {kind}"


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("ns", "Europe/Berlin"), pa.uint32()])
def test_what_is_stored_otherwise_stays_another_type(tmp_path: Path, kind: pa.DataType) -> None:
    (column,) = footer_of(tmp_path, written(pa.table({"a": pa.array([0], pa.int64()).cast(kind)}))).schema.columns
    assert column.type not in {"timestamp", "integer"}
