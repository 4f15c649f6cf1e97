"""Parquet of other writers: what they note of the types that they had in memory changes neither a type nor a value."""

import io
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest

from assets.declaration import action, landing
from tests.integration.spark_mill import Mill
from tests.parquet_snapshots import parquet

DDL = "at timestamp, place string, raw binary, tags array<string>"
SUMMER, WINTER = datetime(2024, 7, 1, 12, 0, 0, 456789, UTC), datetime(2024, 12, 1, 12, tzinfo=UTC)
ROWS = [(SUMMER, "Köln", b"\0x", ["a", None]), (WINTER, "Bonn", b"", []), (None, None, None, None)]
COLUMNS = [list(column) for column in zip(*ROWS, strict=True)]


def as_pandas_writes(zone: str) -> bytes:
    """Moments in a zone, a category, and what has 64-bit offsets, in the types that pandas hands to Arrow."""
    at, place, raw, tags = COLUMNS
    columns = {
        "at": pa.array(at, pa.timestamp("us", zone)),
        "place": pa.array(place, pa.dictionary(pa.int8(), pa.string())),
        "raw": pa.array(raw, pa.large_binary()),
        "tags": pa.array(tags, pa.large_list(pa.large_string())),
    }
    return parquet(pa.table(columns), store_schema=True)


def by_polars() -> bytes:
    at, place, raw, tags = COLUMNS
    zone = "Europe/Berlin"
    local = [moment and moment.astimezone(ZoneInfo(zone)) for moment in at]
    frame = pl.DataFrame(
        {
            "at": pl.Series(local, dtype=pl.Datetime("us", zone)),
            "place": pl.Series(place, dtype=pl.Categorical),
            "raw": pl.Series(raw, dtype=pl.Binary),
            "tags": pl.Series(tags, dtype=pl.List(pl.String)),
        }
    )
    sink = io.BytesIO()
    frame.write_parquet(sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "body",
    [as_pandas_writes("Europe/Berlin"), as_pandas_writes("+00:00"), by_polars()],
    ids=["a zone", "an offset", "polars"],
)
def test_it_is_read_as_what_it_stores(mill: Mill, body: bytes) -> None:
    mill.deliver("rows", "a.parquet", body)

    @action(inputs={"rows": landing("parquet", DDL)}, output="kept", schema=DDL)
    def kept(rows: Any) -> Any:
        return rows

    assert mill.read(mill.run(kept)).rows() == ROWS
