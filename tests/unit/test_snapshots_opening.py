"""The one reader: what it tells of a snapshot, and a different error for each thing that may lie there instead."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from assets.snapshots.reader import ColumnStatistics, open_snapshot
from contracts.commit import DataFile
from contracts.storage import (
    CorruptSnapshotError,
    ForeignSnapshotError,
    MissingSnapshotError,
    NewerSnapshotError,
    RetiredSnapshotError,
    commit_key,
    dataset_prefix,
    tombstone_key,
)
from tests.unit.runner.bench import Bench
from tests.unit.test_commit import rewritten_lines


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_tells_files_schema_statistics_and_rows(bench: Bench) -> None:
    published = bench.run()
    found = open_snapshot(bench.lake, bench.home)
    assert (found.commit, found.digest, found.url) == (published.commit, published.digest, published.url)
    assert str(found.schema) == "month string, orders bigint"
    assert [entry.key for entry in found.objects] == [found.folder + file.name for file in published.commit.files]
    assert found.statistics == {"month": ColumnStatistics(0, None, None), "orders": ColumnStatistics(0, 3, 4)}
    table = found.to_arrow()
    assert table.schema == pa.schema([("month", pa.string()), ("orders", pa.int64())])
    assert table.to_pydict() == {"month": ["2024-09", "2024-10"], "orders": [3, 4]}


def test_missing_and_retired_are_told_apart(bench: Bench) -> None:
    with pytest.raises(MissingSnapshotError, match="is not published"):
        open_snapshot(bench.lake, bench.home)
    bench.lake.put(tombstone_key(bench.home), b"whatever it says")
    with pytest.raises(RetiredSnapshotError, match="retired, for ever"):
        open_snapshot(bench.lake, bench.home)


def test_a_foreign_table_is_named_as_one(bench: Bench) -> None:
    folder = bench.lake.url(dataset_prefix(bench.home))
    Path(folder.removeprefix("file://")).mkdir(parents=True)
    deltalake.write_deltalake(folder, pa.table({"n": [1]}))
    with pytest.raises(ForeignSnapshotError, match="Lakemill did not write"):
        open_snapshot(bench.lake, bench.home)


def test_a_later_contract_asks_for_an_upgrade_whatever_else_it_says(bench: Bench) -> None:
    bench.run()
    body = bench.lake.get(commit_key(bench.home)) or b""

    def later(kind: str, action: dict[str, Any]) -> dict[str, Any]:
        if kind == "metaData":
            action["configuration"]["lakemill.contract_version"] = "2"
        return {"minReaderVersion": 3} if kind == "protocol" else action

    bench.lake.put(commit_key(bench.home), rewritten_lines(body, later) + b'{"domainMetadata":{}}\n')
    with pytest.raises(NewerSnapshotError, match=r"contract 2.*upgrade"):
        open_snapshot(bench.lake, bench.home)


def test_what_a_delta_reader_would_take_from_the_log_and_not_from_the_files_is_corrupt(bench: Bench) -> None:
    bench.run()
    body = bench.lake.get(commit_key(bench.home)) or b""
    changes = {"metaData": {"partitionColumns": ["orders"]}, "add": {"partitionValues": {"orders": "7"}}}
    bench.lake.put(commit_key(bench.home), rewritten_lines(body, lambda kind, found: found | changes.get(kind, {})))
    table = deltalake.DeltaTable(bench.lake.url(dataset_prefix(bench.home))).to_pyarrow_table()
    assert table["orders"].to_pylist() == [7, 7]
    with pytest.raises(CorruptSnapshotError, match="partitioned"):
        open_snapshot(bench.lake, bench.home)


@pytest.mark.parametrize("kind", ["timestamp_ntz", "decimal(39,1)"])
def test_a_type_that_the_contract_does_not_know_is_corrupt(bench: Bench, kind: str) -> None:
    bench.run()
    body = bench.lake.get(commit_key(bench.home)) or b""
    bench.lake.put(commit_key(bench.home), body.replace(b'\\"type\\":\\"long\\"', f'\\"type\\":\\"{kind}\\"'.encode()))
    found = open_snapshot(bench.lake, bench.home)
    assert found.schema.type_of("orders") == kind
    with pytest.raises(CorruptSnapshotError, match="the commit's schema"):
        found.to_arrow()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"commitInfo":{}}', b'{"metaData":1}', b"\xff\xfe"])
def test_what_is_no_commit_is_corrupt_and_neither_foreign_nor_newer(bench: Bench, body: bytes) -> None:
    bench.lake.put(commit_key(bench.home), body)
    with pytest.raises(CorruptSnapshotError) as caught:
        open_snapshot(bench.lake, bench.home)
    assert type(caught.value) is CorruptSnapshotError


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda _: None, "is missing"),
        (lambda body: body[:-1], "bytes, the commit says"),
        (lambda body: body[:8] + b"\xff" * 16 + body[24:], "does not decode|does not hold"),
    ],
    ids=["missing", "truncated", "overwritten"],
)
def test_a_damaged_file_is_never_read_as_rows(bench: Bench, damage: Any, told: str) -> None:
    bench.run()
    found = open_snapshot(bench.lake, bench.home)
    (file,) = found.objects
    body = damage(bench.lake.get(file.key))
    bench.lake.delete([file.key])
    if body is not None:
        bench.lake.put(file.key, body)
    with pytest.raises(CorruptSnapshotError, match=told):
        found.to_arrow()


def test_statistics_are_unknown_where_one_file_is_silent(bench: Bench) -> None:
    bench.run()
    found = open_snapshot(bench.lake, bench.home)
    (file,) = found.commit.files
    silent = file.model_copy(update={"null_counts": {}, "min_values": {}, "max_values": {}})
    only_nulls = silent.model_copy(update={"null_counts": {"month": file.rows, "orders": file.rows}})

    def of_orders(second: DataFile) -> ColumnStatistics:
        commit = found.commit.model_copy(update={"files": [file, second]})
        return replace(found, commit=commit).statistics["orders"]

    assert of_orders(only_nulls) == ColumnStatistics(2, 3, 4)
    assert of_orders(silent) == ColumnStatistics(None, None, None)
