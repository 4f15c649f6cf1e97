"""What the end of a Parquet file says: its schema, rows, null counts, and the bounds that readers may skip rows by."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.tables.arrow_types import table_schema
from assets.tables.schema import Schema
from contracts.storage import CorruptSnapshotError
from resources.lake.store import Lake, ObjectInfo, ObjectMissingError

_TAIL_BYTES = 64 * 1024
_TRAILER_BYTES = 8
_MAX_FOOTER_BYTES = 64 * 1024 * 1024
_READERS = 16
_BOUNDED = {"byte", "short", "integer", "long", "date"}  # and decimals; strings and timestamps may be truncated
_FIRST_DAY, _LAST_DAY = ((day - date(1970, 1, 1)).days for day in (date.min, date.max))
_DAY_MICROS = 24 * 60 * 60 * 1_000_000
_YEARS_1_TO_9999 = {
    "DATE": (_FIRST_DAY, _LAST_DAY),
    "TIMESTAMP_MICROS": (_FIRST_DAY * _DAY_MICROS, (_LAST_DAY + 1) * _DAY_MICROS - 1),
}
"""Parquet's name of a type → the first and the last value of it that the contract allows, as they are stored."""


class OutOfRangeError(CorruptSnapshotError):
    """A date or a timestamp lies outside the years 1 to 9999, or a decimal has more digits than its type.

    Replace it, by null for example: few can read it.
    """


@dataclass(frozen=True, slots=True)
class Footer:
    """One Parquet file as its footer describes it. ``null_counts`` lacks columns that the writer did not count.

    Nested columns have no counts and no bounds: a file counts the nulls of their leaves, among them those of parents.
    """

    key: str
    size: int
    schema: Schema
    rows: int
    unpacked: int
    """Bytes of the columns before compression."""
    null_counts: dict[str, int]
    min_values: dict[str, Any]
    max_values: dict[str, Any]
    etag: str | None = None
    """As the store listed it."""


def read_footers(lake: Lake, objects: Iterable[ObjectInfo]) -> list[Footer]:
    """Read many footers at once, in the order of ``objects``. Raises as ``read_footer`` does."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="footers") as pool:
        return list(pool.map(lambda found: read_footer(lake, found), objects))


def read_footer(lake: Lake, found: ObjectInfo) -> Footer:
    """Read one footer.

    Raises OutOfRangeError when it tells of a value that no snapshot may hold, CorruptSnapshotError when the file is
    missing, cut short, not Parquet or of a schema that Arrow does not have, and the lake's errors.
    """
    where = lake.url(found.key)
    try:
        metadata = _metadata(lake, found)
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        groups = [group for group in groups if group.num_rows]  # of an empty group writers count nothing
        _refuse_out_of_range(where, metadata.schema, groups)
        return _footer(found, metadata, groups)
    except ObjectMissingError as error:
        raise CorruptSnapshotError(str(error)) from error
    except (pa.ArrowException, OSError, ValueError, ArithmeticError) as error:
        raise CorruptSnapshotError(f"{where} is not a readable Parquet file: {error}") from error


def _metadata(lake: Lake, found: ObjectInfo) -> Any:
    tail = lake.tail(found.key, min(_TAIL_BYTES, found.size))
    length = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little") + _TRAILER_BYTES
    if tail[-4:] != b"PAR1" or length > min(found.size, _MAX_FOOTER_BYTES):
        raise CorruptSnapshotError(f"{lake.url(found.key)} does not end like a Parquet file")
    if length > len(tail):
        tail = lake.tail(found.key, length)
    return pq.read_metadata(pa.BufferReader(tail))


def _refuse_out_of_range(where: str, schema: Any, groups: Sequence[Any]) -> None:
    """Return unless the statistics of a column, or of a leaf of a nested one, tell of a value that is not allowed.

    To Python's dates and times there is no such year, and the statistics themselves cannot be read as values.
    """
    for place in range(len(schema)):
        column = schema.column(place)
        statistics = [group.column(place).statistics for group in groups]
        bounded = [part for part in statistics if part is not None and part.has_min_max]
        if allowed := _YEARS_1_TO_9999.get(column.converted_type):
            if any(part.min_raw < allowed[0] or part.max_raw > allowed[1] for part in bounded):
                raise OutOfRangeError(f"{where}: column {column.path} holds values outside the years 1 to 9999")
        elif column.converted_type == "DECIMAL":
            digits = column.precision - column.scale  # before the point
            if any(bound.adjusted() >= digits for part in bounded for bound in (part.min, part.max)):
                kind = f"decimal({column.precision},{column.scale})"
                raise OutOfRangeError(f"{where}: column {column.path} holds more digits than {kind}")


def _footer(found: ObjectInfo, metadata: Any, groups: Sequence[Any]) -> Footer:
    schema = table_schema(metadata.schema.to_arrow_schema())
    places = {metadata.schema.column(place).path: place for place in range(metadata.num_columns)}
    nulls: dict[str, int] = {}
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name, kind in ((column.name, column.type) for column in schema.columns):
        if name not in places or not isinstance(kind, str):
            continue
        statistics = [group.column(places[name]).statistics for group in groups]
        if all(part is not None and part.has_null_count for part in statistics):
            nulls[name] = sum(part.null_count for part in statistics)
            # A group of nulls only has no bounds.
            filled = [part for part, group in zip(statistics, groups, strict=True) if part.null_count < group.num_rows]
            if bounds := _bounds(kind, filled):
                low[name], high[name] = bounds
    unpacked = sum(group.total_byte_size for group in groups)
    return Footer(found.key, found.size, schema, metadata.num_rows, unpacked, nulls, low, high, found.etag)


def _bounds(kind: str, statistics: list[Any]) -> tuple[Any, Any] | None:
    bounded = kind in _BOUNDED or kind.startswith("decimal")
    if not bounded or not statistics or not all(part.has_min_max for part in statistics):
        return None
    low = encode_bound(min(part.min for part in statistics))
    high = encode_bound(max(part.max for part in statistics))
    return None if low is None or high is None else (low, high)


def encode_bound(value: object) -> int | float | str | None:
    """Return a bound as Delta's statistics spell it, or None when JSON could only carry it rounded.

    A rounded bound would make readers skip rows that match.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        number = float(value)
        text = repr(number)
        return number if "e" not in text and Decimal(text) == value else None
    return None
