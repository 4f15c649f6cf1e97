"""What ``python -m assets.conformance`` takes for a breach of the storage contract, and what it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.conformance import breaches
from assets.snapshots.verify import verify
from assets.tables.schema import Column, Schema
from contracts.commit import spelled
from contracts.identity import Coordinate
from contracts.storage import commit_key, tombstone_key
from resources.lake.folder import FileLake
from tests.integration.memory_lake import tombstone
from tests.parquet_snapshots import publish
from tests.unit.runner.bench import Bench

HOME, OTHER = (Coordinate("cust_8842", "v2024.10.05", dataset) for dataset in ("revenue", "other"))
NUMBERS = pa.table({"n": pa.array([1, 2], pa.int64())})
LONG: dict[str, Any] = {"metadata": {}, "name": "n", "nullable": True, "type": "long"}


def test_a_lake_that_we_wrote_conforms_and_each_breach_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run()
    lake = FileLake(tmp_path / "lake")
    lake.put(tombstone_key(Coordinate("e", "v1", "gone")), tombstone(Coordinate("e", "v1", "gone")).encode())
    command = [sys.executable, "-m", "assets.conformance", str(tmp_path / "lake")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.startswith("0 breaches")
    spaced = (lake.get(commit_key(bench.home)) or b"").replace(b'{"protocol":', b'{"protocol": ')
    lake.put(f"{HOME}/notes.txt", b"x")
    lake.put(f"{bench.home}/01924f5e-8c00-7b3a-9d41-6f0c2a7e5b10-1-0123456789abcdef/evil.exe", b"x")
    lake.put("_lakemill/retired/not a place.json", b"{}")
    lake.put(tombstone_key(HOME), b"{}")
    lake.delete([commit_key(bench.home)])
    lake.put(commit_key(bench.home), spaced)
    told = list(breaches(lake))
    assert len(told) == 5
    for words in (
        "notes.txt is no key",
        "evil.exe is no key",
        "not a place.json is no key",
        "tombstone cannot be read",
        "not in canonical form",
    ):
        assert any(words in breach for breach in told), told
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def rewritten(lake: FileLake, kind: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change each action of a kind in the commit at HOME, and spell it canonically."""
    actions = [json.loads(line) for line in (lake.get(commit_key(HOME)) or b"").splitlines()]
    for action in actions:
        if kind in action:
            change(action[kind])
    lake.delete([commit_key(HOME)])
    lake.put(commit_key(HOME), spelled(actions))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("metaData", lambda told: told["configuration"].update({"lakemill.note": "new"})),
        ("add", lambda told: told["tags"].update({"lakemill.note": "new"})),
        ("add", lambda told: told.update(tags={"lakemill.note": "new"})),
    ],
    ids=["property", "tag", "tag alone"],
)
def test_what_may_come_within_version_1_is_no_breach(tmp_path: Path, kind: str, change: Any) -> None:
    lake = FileLake(tmp_path)
    publish(lake, HOME, "n bigint", [NUMBERS])
    rewritten(lake, "add", lambda told: told.update(tags={"lakemill.etag": "0"}))
    rewritten(lake, kind, change)
    told = list(breaches(lake, deep=True))
    assert [breach for breach in told if "ETag" not in breach] == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("metaData", lambda told: told["configuration"].update({"lakemill.note": 5})),
        ("metaData", lambda told: told["configuration"].update({"delta.note": "new"})),
        ("metaData", lambda told: told.update(description="new")),
        ("add", lambda told: told.update(tags={})),
    ],
    ids=["a property that is no text", "another's property", "a field", "no tags"],
)
def test_what_may_not_come_is_a_breach(tmp_path: Path, kind: str, change: Any) -> None:
    lake = FileLake(tmp_path)
    publish(lake, HOME, "n bigint", [NUMBERS])
    rewritten(lake, kind, change)
    (told,) = breaches(lake, deep=True)
    assert told == f"{commit_key(HOME)} is not in canonical form"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([LONG | {"nullable": False}], "schemaString is not in canonical form"),
        ([LONG | {"metadata": {"comment": "how many"}}], "schemaString is not in canonical form"),
        ([dict(reversed(LONG.items()))], "schemaString is not in canonical form"),
        ([LONG | {"type": "timestamp_ntz"}], "type 'timestamp_ntz' is not one of"),
        ([LONG, LONG], "names n twice"),
    ],
    ids=["nullable", "metadata", "unsorted", "type", "twice"],
)
def test_a_schema_that_the_contract_does_not_know_is_a_breach(
    tmp_path: Path, fields: list[dict[str, Any]], told: str
) -> None:
    lake = FileLake(tmp_path)
    publish(lake, HOME, "n bigint", [NUMBERS])
    schema = json.dumps({"fields": fields, "type": "struct"}, separators=(",", ":"))
    rewritten(lake, "metaData", lambda found: found.update(schemaString=schema))
    assert any(told in breach for breach in breaches(lake, deep=True))


def test_a_column_of_another_name_is_a_breach_and_read(tmp_path: Path) -> None:
    lake = FileLake(tmp_path)
    named = publish(lake, HOME, Schema((Column("Total Amount", "long"),)), [NUMBERS.rename_columns(["Total Amount"])])
    assert named.to_arrow().num_rows == 2
    (told,) = breaches(lake, deep=True)
    assert "the name in lower case" in told


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_without_a_checksum_are_a_breach(tmp_path: Path, version: str) -> None:
    """Those of dictionaries too, of every row group, and of a column of nothing but nulls; ``verify`` reads them."""
    columns = {"n": [*range(1000)], "word": [str(number % 7) for number in range(1000)], "tags": [["a"], None] * 500}
    table = pa.table({**columns, "nothing": pa.nulls(1000, pa.string())})
    ddl = "n bigint, word string, tags array<string>, nothing string"
    lake = FileLake(tmp_path)
    for place, has_checksum in ((HOME, True), (OTHER, False)):
        options = {"write_page_checksum": has_checksum, "data_page_version": version, "row_group_size": 300}
        publish(lake, place, ddl, [table], options=options)
    assert verify(lake, OTHER, deep=True).ok
    (told,) = breaches(lake, deep=True)
    assert told.startswith(f"{OTHER}/")
    assert told.endswith("pages without a checksum: n, word, tags.list.element, nothing")
    assert list(breaches(lake)) == []


def test_a_folder_that_is_not_there_does_not_conform_and_is_not_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "assets.conformance", str(tmp_path / "lake")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "code", "told"),
    [({"S3_ENDPOINT": "http://127.0.0.1:9"}, 5, "s3://lake/"), ({"PERMIT_SECONDS": "soon"}, 3, "permit_seconds")],
    ids=["unreachable", "not configured"],
)
def test_a_lake_that_nobody_has_looked_at_is_not_told_as_a_breach(
    tmp_path: Path, setting: dict[str, str], code: int, told: str
) -> None:
    here = {"STATE_DIR": str(tmp_path), "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret", **setting}
    env = {**os.environ, **{f"LAKEMILL_{name}": value for name, value in here.items()}}
    command = [sys.executable, "-m", "assets.conformance"]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
