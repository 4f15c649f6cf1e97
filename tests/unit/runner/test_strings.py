"""Parquet whose strings are more than they look is refused, whatever its footer says; what only might be is not."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import InputCorruptError, InputTooLargeError
from assets.reading.strings import refuse_large_strings
from assets.tables.footers import read_footers
from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.storage import dataset_prefix
from resources.lake.folder import FileLake
from resources.lake.store import LakeUnavailableError, ObjectInfo
from tests.unit.runner.bench import Bench, ingest_parquet

LONG, ROWS = "x" * 900_000, 2_000_000
MB, TB = 1024**2, 1024**4


class Lake(FileLake):
    """Keeps what was read beside the footers; silent when told so."""

    read: int = 0
    silent: bool = False

    def chunks(self, key: str, first: int = 0) -> Iterator[bytes]:
        if self.silent:
            raise LakeUnavailableError("no answer")
        body = b"".join(super().chunks(key, first))
        for start in range(0, len(body), 1000):
            self.read += 1000
            yield body[start : start + 1000]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def parquet(column: pa.Array, name: str = "month", **options: Any) -> bytes:
    sink = io.BytesIO()
    table = pa.table({name: column, "orders": pa.nulls(len(column), pa.int64())})
    pq.write_table(table, sink, store_schema=False, **{"compression": "zstd", **options})
    return sink.getvalue()


def repeated(*values: str, rows: int) -> pa.Array:
    """Return a column of ``rows`` rows, most of them the last of ``values``."""
    places = [*range(len(values)), *[len(values) - 1] * (rows - len(values))]
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(values))


def judge(lake: Lake, most_bytes: int, *files: bytes) -> None:
    for number, body in enumerate(files):
        lake.put(f"{number}.parquet", body)
    objects = [ObjectInfo(f"{number}.parquet", len(body)) for number, body in enumerate(files)]
    refuse_large_strings(lake, objects, read_footers(lake, objects), most_bytes)


def varint(number: int) -> bytes:
    rest, found = number * 2, b""  # zigzag
    while rest > 127:
        found, rest = found + bytes([rest & 127 | 128]), rest >> 7
    return found + bytes([rest])


def belittled(body: bytes) -> bytes:
    """Return the file with a footer that gives its chunks, and so its dictionary, a hundredth of their size."""
    end = int.from_bytes(body[-8:-4], "little") + 8
    footer, metadata = body[-end:], pq.read_metadata(io.BytesIO(body))
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).column(0).total_uncompressed_size
        footer = footer.replace(varint(size), varint(size // 100))
    return body[:-end] + footer


@contextmanager
def arrow_memory() -> Iterator[pa.MemoryPool]:
    """Let Arrow take its memory from a pool that tells the most it has given."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(before)


def test_a_string_that_stands_for_millions_is_refused_at_once_and_without_unpacking_it(bench: Bench) -> None:
    body = parquet(repeated(LONG, rows=ROWS))
    assert len(body) < 10_000
    folder = dataset_prefix(Coordinate(bench.home.entity_id, bench.home.data_version, "raw"))
    bench.landing.put(f"{folder}a.parquet", body)
    began = monotonic()
    with (
        arrow_memory() as memory,
        pytest.raises(InputTooLargeError, match=r"a\.parquet .* more than 1099511627776 bytes"),
    ):
        bench.run(ingest_parquet)
    assert monotonic() - began < 20
    assert memory.max_memory() < 32 * MB
    assert (bench.failure.code, bench.sessions.profiles) == (ReasonCode.INPUT_TOO_LARGE, [])


def test_a_footer_that_lies_about_its_sizes_changes_nothing(lake: Lake) -> None:
    body = belittled(parquet(repeated(LONG, rows=ROWS)))
    told = pq.read_metadata(io.BytesIO(body)).row_group(0).column(0)
    assert told.total_uncompressed_size < 10_000
    with pytest.raises(InputTooLargeError):
        judge(lake, TB, body)


def test_a_long_string_among_short_ones_is_measured_and_accepted(lake: Lake) -> None:
    body = parquet(repeated(LONG, "short", rows=ROWS))
    judge(lake, 100 * MB, body)  # 1.8 TB, were all as long as the longest
    with pytest.raises(InputTooLargeError):
        judge(lake, 10 * MB, body)
    with pytest.raises(InputTooLargeError, match=r"2\.parquet"):
        judge(lake, 30 * MB, body, body, body)


def test_it_does_not_hide_behind_rows_without_any(lake: Lake) -> None:
    places = pa.array([None] * 100_000 + [0] * ROWS, pa.int32())
    with pytest.raises(InputTooLargeError):
        judge(lake, TB, parquet(pa.DictionaryArray.from_arrays(places, pa.array([LONG]))))


def test_of_an_ordinary_file_the_first_rows_are_enough(lake: Lake) -> None:
    words = [f"{number * 7919} is a word" for number in range(300_000)]
    body = parquet(pa.array(words), compression="snappy")
    judge(lake, 20 * MB, body)
    assert 0 < lake.read < len(body) // 2
    lake.read = 0
    judge(lake, TB * TB, body)
    assert lake.read == 0


EACH = pa.array(range(1001), pa.int32())
WORDS = pa.array(["x" * 10_000] * 1000)
NESTED = [
    pa.ListArray.from_arrays(EACH, WORDS),
    pa.StructArray.from_arrays([WORDS], ["x"]),
    pa.MapArray.from_arrays(EACH, pa.array(["k"] * 1000), WORDS),
]


@pytest.mark.parametrize("column", NESTED, ids=["array", "struct", "map"])
def test_strings_within_a_column_count_too(lake: Lake, column: pa.Array) -> None:
    body = parquet(column)
    judge(lake, 11 * MB, body)
    with pytest.raises(InputTooLargeError):
        judge(lake, 9 * MB, body)


def test_so_do_strings_that_say_only_where_they_differ_from_the_one_before(lake: Lake) -> None:
    options: Any = {"use_dictionary": False, "column_encoding": {"month": "DELTA_BYTE_ARRAY"}}
    body = parquet(pa.array(["x" * 1000] * 100_000), **options)
    assert len(body) < MB
    judge(lake, 110 * MB, body)
    with pytest.raises(InputTooLargeError):
        judge(lake, 90 * MB, body)


def test_pages_that_cannot_be_read_are_corrupt_and_a_silent_store_is_not(lake: Lake) -> None:
    body = parquet(repeated(LONG, rows=ROWS))
    with pytest.raises(InputCorruptError, match="cannot be unpacked"):
        judge(lake, TB, body[:4] + bytes(60) + body[64:])
    lake.silent = True
    with pytest.raises(LakeUnavailableError):
        judge(lake, TB, body)


def test_an_empty_file_is_not_too_large(lake: Lake) -> None:
    judge(lake, 0, parquet(pa.array([], pa.string())))
