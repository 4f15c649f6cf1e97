"""Deliveries that unpack to more than is allowed are refused before Spark meets them, whatever they say of it."""

import bz2
import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import InputCorruptError, InputTooLargeError
from assets.reading.unpacking import refuse_too_large
from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.storage import dataset_prefix
from resources.lake.folder import FileLake
from resources.lake.store import ObjectInfo
from tests.unit.runner.bench import Bench, ingest, ingest_parquet

MB = 1024 * 1024
ZEROS = bytes(3 * MB)
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda body: pa.compress(body, "zstd", asbytes=True),
}


class Lake(FileLake):
    """Keeps what was unpacked."""

    unpacked: list[str]

    def chunks(self, key: str) -> Iterator[bytes]:
        self.unpacked = [*getattr(self, "unpacked", []), key]
        body = self.get(key) or b""
        yield from (body[start : start + 100] for start in range(0, len(body), 100))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def deliver(lake: FileLake, **files: bytes) -> list[ObjectInfo]:
    for name, body in files.items():
        lake.put(name, body)
    return [ObjectInfo(name, len(body)) for name, body in files.items()]


@pytest.mark.parametrize("ending", PACKED)
def test_a_bomb_is_measured_and_what_is_just_small_enough_is_not_one(lake: Lake, ending: str) -> None:
    found = deliver(lake, **{f"a.csv{ending}": PACKED[ending](ZEROS)})
    refuse_too_large(lake, found, 3 * MB)
    with pytest.raises(InputTooLargeError, match=rf"a\.csv{ending} .* more than {3 * MB - 1} bytes"):
        refuse_too_large(lake, found, 3 * MB - 1)
    assert lake.unpacked == [f"a.csv{ending}"] * 2


def test_the_second_member_counts_and_so_do_all_files_together(lake: Lake) -> None:
    small = gzip.compress(b"n\n")
    (found,) = deliver(lake, **{"a.csv.gz": small + gzip.compress(ZEROS) + small})
    with pytest.raises(InputTooLargeError):
        refuse_too_large(lake, [found], 3 * MB)
    many = deliver(lake, **{f"{number}.csv.gz": gzip.compress(bytes(MB)) for number in range(4)}, plain=bytes(MB))
    refuse_too_large(lake, many, 5 * MB)
    with pytest.raises(InputTooLargeError, match="plain"):
        refuse_too_large(lake, many, 5 * MB - 1)


def test_what_cannot_be_too_large_is_not_read(lake: Lake) -> None:
    refuse_too_large(lake, [ObjectInfo("a.csv.gz", MB), ObjectInfo("b.csv", MB)], 1033 * MB)
    assert not hasattr(lake, "unpacked")


@pytest.mark.parametrize("ending", PACKED)
def test_what_cannot_be_unpacked_is_corrupt(lake: Lake, ending: str) -> None:
    for body in (b"n,word\n" * 9999, PACKED[ending](ZEROS)[:-9]):
        with pytest.raises(InputCorruptError, match="cannot be unpacked"):
            refuse_too_large(lake, deliver(lake, **{f"a.csv{ending}": body}), 3 * MB)


@pytest.mark.parametrize("declared", [ingest, ingest_parquet])
def test_a_run_ends_with_the_reason_before_spark_starts(bench: Bench, tmp_path: Path, declared: Any) -> None:
    bench.tools = replace(bench.tools, landing_unpacked_bytes=MB)
    folder = dataset_prefix(Coordinate(bench.home.entity_id, bench.home.data_version, "raw"))
    bench.landing.put(f"{folder}a.csv.gz", gzip.compress(ZEROS))
    repeated = pa.table({"month": ["x" * 100] * 600_000, "orders": pa.array([1] * 600_000, pa.int64())})
    pq.write_table(repeated, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < MB // 10
    bench.landing.put(f"{folder}a.parquet", (tmp_path / "a.parquet").read_bytes())
    with pytest.raises(InputTooLargeError, match="LAKEMILL_LANDING_UNPACKED_BYTES"):
        bench.run(declared)
    assert (bench.failure.code, bench.failure.is_retriable) == (ReasonCode.INPUT_TOO_LARGE, False)
    assert bench.sessions.profiles == []
    assert bench.published() is None
