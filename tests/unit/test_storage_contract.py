"""The storage contract as files: golden commits byte for byte, what must be refused and as what, its JSON Schema."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

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
from tests.test_architecture import ROOT

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
