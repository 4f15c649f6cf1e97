"""The storage contract as files: golden commits byte for byte, what must be refused and as what, its JSON Schema."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from assets.conformance import breaches
from assets.tables.schema import Schema
from cli.schemas import S3_TEMPLATE, rendered, rendered_s3_template
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.storage import (
    CorruptSnapshotError,
    ForeignSnapshotError,
    NewerSnapshotError,
    SnapshotError,
    commit_key,
    committed_at_key,
    log_prefix,
    retired_at_key,
    success_key,
    token_at_key,
    token_prefix,
    tombstone_key,
)
from resources.lake.folder import FileLake
from tests.integration.memory_lake import tombstone
from tests.test_architecture import ROOT
from tests.unit.runner.bench import Bench

GOLDEN = ROOT / "tests" / "golden"
HOME = Coordinate("cust_8842", "v2024.10.05", "revenue")
KINDS: dict[str, type[SnapshotError]] = {
    "newer": NewerSnapshotError,
    "foreign": ForeignSnapshotError,
    "corrupt": CorruptSnapshotError,
}


def properties(body: bytes) -> dict[str, str]:
    (found,) = [line["metaData"]["configuration"] for line in map(json.loads, body.splitlines()) if "metaData" in line]
    return dict(found)


@pytest.mark.parametrize("path", sorted((GOLDEN / "commits").iterdir()), ids=lambda path: path.stem)
def test_a_golden_commit_is_read_and_written_byte_for_byte(path: Path) -> None:
    body = path.read_bytes()
    told = properties(body)
    commit = Commit.parse(body, Coordinate.parse(told["lakemill.coordinate"]))
    assert commit.encode() == body
    assert Schema.from_json(commit.schema_string).to_json() == commit.schema_string


@pytest.mark.parametrize("path", sorted((GOLDEN / "refused").iterdir()), ids=lambda path: path.stem)
def test_what_must_be_refused_is_refused_as_what_it_is(path: Path) -> None:
    with pytest.raises(CorruptSnapshotError) as caught:
        Commit.parse(path.read_bytes(), HOME)
    assert type(caught.value) is KINDS[path.stem.partition("-")[0]]


def test_the_schema_fits_the_golden_properties_and_the_json_in_them() -> None:
    schema = json.loads(rendered()["snapshot-properties.json"])
    assert rendered_s3_template()["snapshot-properties.json"] == (S3_TEMPLATE / "snapshot-properties.json").read_text()
    for path in (GOLDEN / "commits").iterdir():
        told = properties(path.read_bytes())
        assert jsonschema_rs.is_valid(schema, told)
        for name, rule in schema["properties"].items():
            if "contentSchema" in rule:
                content = {**rule["contentSchema"], "$defs": schema["$defs"]}
                assert jsonschema_rs.is_valid(content, json.loads(told[name])), name
        for wrong in ({"lakemill.contract_version": "2"}, {"lakemill.token": "x"}, {"lakemill.attempt": "first"}):
            assert not jsonschema_rs.is_valid(schema, told | wrong)
        without = {name: value for name, value in told.items() if name != "lakemill.action"}
        assert not jsonschema_rs.is_valid(schema, without)


def test_every_property_stands_on_the_page() -> None:
    page = (ROOT / "docs" / "storage-contract.md").read_text()
    schema: dict[str, Any] = json.loads(rendered()["snapshot-properties.json"])
    assert set(schema["properties"]) == set(re.findall(r"^\| `((?:lakemill|delta)\.\w+)` \|", page, re.MULTILINE))


def test_every_key_is_of_one_kind() -> None:
    token = "01924f5e-8c00-7b3a-9d41-6f0c2a7e5b10-1-0123456789abcdef"
    kinds = (committed_at_key, retired_at_key, token_at_key)
    for key, expected in {
        commit_key(HOME): (HOME, None, None),
        tombstone_key(HOME): (None, HOME, None),
        success_key(HOME, token): (None, None, (HOME, token)),
        token_prefix(HOME, token): (None, None, (HOME, token)),
        f"{log_prefix(HOME)}{1:020d}.json": (None, None, None),
        f"{HOME}/{token}": (None, None, None),
        f"{HOME}/{token[:-1]}/part-0.parquet": (None, None, None),
        f"cust..1/v1/revenue/{token}/part-0.parquet": (None, None, None),
    }.items():
        assert tuple(kind(key) for kind in kinds) == expected, key


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
