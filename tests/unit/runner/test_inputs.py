"""What a run reads: snapshots by their commits, raw files from their folder; what is missing or damaged is named."""

import gzip
from typing import Any
from uuid import UUID

import pytest

from assets.declaration import action
from assets.errors import InputCorruptError, InputMissingError
from assets.reading.deliveries import is_plain
from contracts.identity import Coordinate
from contracts.messages import InputRef
from contracts.reasons import ReasonCode
from contracts.storage import commit_key, dataset_prefix
from tests.unit.runner.bench import OTHER, SCHEMA, Bench, ingest, ingest_parquet


@action(inputs={"revenue": "revenue"}, output="doubled", schema=SCHEMA)
def doubled(revenue: Any) -> Any:
    return revenue


def test_inputs_are_read_by_their_commits_and_recorded(bench: Bench) -> None:
    source = bench.run()
    bench.lake.put(f"{dataset_prefix(bench.home)}{OTHER}-1-0123456789abcdef/part-9.parquet", b"an orphan")
    second = bench.run(doubled, bench.member(dataset="doubled", process_id=UUID(OTHER)))
    used = second.commit.provenance.inputs["revenue"]
    assert (used.path, used.commit_digest) == (source.url, source.digest)
    assert second.commit.rows == 2
    elsewhere = {"revenue": InputRef(entity_id=bench.home.entity_id, data_version=bench.home.data_version)}
    third = bench.member(dataset="doubled", process_id=UUID(OTHER), data_version="v2", inputs=elsewhere)
    assert bench.run(doubled, third).commit.provenance.inputs["revenue"] == used


def test_an_input_without_a_snapshot_is_named(bench: Bench) -> None:
    with pytest.raises(InputMissingError, match=r"cust_8842/v2024\.10\.05/revenue is not published"):
        bench.run(doubled, bench.member(dataset="doubled"))
    assert bench.failure.code is ReasonCode.INPUT_MISSING
    unknown = {"weather": InputRef(entity_id="a", data_version="b")}
    with pytest.raises(InputMissingError, match="weather"):
        bench.run(doubled, bench.member(dataset="doubled", inputs=unknown))


def test_a_corrupt_input_is_told_from_a_missing_one(bench: Bench) -> None:
    bench.lake.put(commit_key(bench.home), b"not a commit")
    with pytest.raises(InputCorruptError):
        bench.run(doubled, bench.member(dataset="doubled"))
    assert bench.failure.code is ReasonCode.INPUT_CORRUPT


def test_raw_files_are_read_from_their_own_folder_only(bench: Bench) -> None:
    folder = dataset_prefix(Coordinate(bench.home.entity_id, bench.home.data_version, "raw"))
    with pytest.raises(InputMissingError, match="nothing was delivered"):
        bench.run(ingest_parquet)
    bench.landing.put(f"{folder}readme.txt", b"not data")
    bench.landing.put(f"{folder}a.parquet", parquet(bench))
    published = bench.run(ingest_parquet)
    assert published.commit.rows == 2
    used = published.commit.provenance.inputs["raw"]
    assert (used.path, used.commit_digest) == (bench.landing.url(folder).rstrip("/"), None)


def test_delivered_parquet_must_have_the_declared_columns(bench: Bench) -> None:
    folder = dataset_prefix(Coordinate(bench.home.entity_id, bench.home.data_version, "raw"))
    bench.landing.put(f"{folder}a.parquet", b"PAR1 but no more")
    with pytest.raises(InputCorruptError, match="Parquet"):
        bench.run(ingest_parquet)
    bench.landing.put(f"{folder}a.parquet", parquet(bench))
    assert bench.run(ingest_parquet).commit.rows == 2


def parquet(bench: Bench) -> bytes:
    bench.run(bench.action(bench.frame), bench.member(entity_id="maker"))
    made = next(found.key for found in bench.lake.list("maker/") if found.key.endswith(".parquet"))
    return bench.lake.get(made) or b""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"month,sales\n", r"names \['month', 'sales'\], the action declares \['month', 'orders'\]"),
        (b'"month,orders\n', "names"),
        (b"", "there is no header"),
    ],
)
def test_delivered_csv_must_begin_with_the_declared_names(bench: Bench, body: bytes, told: str) -> None:
    folder = dataset_prefix(Coordinate(bench.home.entity_id, bench.home.data_version, "raw"))
    bench.landing.put(f"{folder}a.csv", b'\xef\xbb\xbf\r\n"Month","ORDERS"\r\n2024-09,3\r\n')
    bench.landing.put(f"{folder}b.csv.gz", gzip.compress(body))
    with pytest.raises(InputCorruptError, match=rf"b\.csv\.gz: .*{told}"):
        bench.run(ingest)
    assert bench.sessions.profiles == []


@pytest.mark.parametrize(
    ("name", "is_one_file"),
    [
        ("a.csv", True),
        ("day=2024-10-05/part 1.parquet", True),
        ("../other/a.csv", False),
        ("x/../../other/a.csv", False),
        ("*.csv", False),
        ("{a,b}.csv", False),
        ("a[12].csv", False),
        ("a?.csv", False),
        ("a\\b.csv", False),
        ("/a.csv", False),
        ("_a.csv", False),
        (".a.csv", False),
        ("a.csv\n", False),
    ],
)
def test_names_that_spark_takes_for_something_else_are_told(name: str, is_one_file: bool) -> None:
    assert is_plain(name) is is_one_file
