"""The tombstone's bytes and key: they lead back to what was retired, and to nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.identity import Coordinate
from contracts.storage import (
    RETIRED_PREFIX,
    CorruptSnapshotError,
    commit_key,
    committed_at_key,
    retired_at_key,
    tombstone_key,
)
from contracts.tombstone import Tombstone
from tests.integration.memory_lake import tombstone

ids = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9_-])?", fullmatch=True).filter(lambda x: ".." not in x)
places = st.builds(Coordinate, ids, ids, st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True))
HERE = Coordinate("cust_8842", "v1", "raw")


@given(places)
def test_each_key_leads_back_to_its_coordinate_and_is_of_one_kind(place: Coordinate) -> None:
    assert (committed_at_key(commit_key(place)), retired_at_key(commit_key(place))) == (place, None)
    assert (committed_at_key(tombstone_key(place)), retired_at_key(tombstone_key(place))) == (None, place)


@pytest.mark.parametrize(
    "key",
    [
        "",
        RETIRED_PREFIX,
        f"{RETIRED_PREFIX}a/b/c",
        f"{RETIRED_PREFIX}a/../c.json",
        f"{RETIRED_PREFIX}a/b/c/d.json",
        "a/b/c/_delta_log/00000000000000000001.json",
        "a/b/c/_delta_log/00000000000000000000.json/",
        "a/b/c/_delta_log/00000000000000000000.jsonx",
        "x/a/b/c/_delta_log/00000000000000000000.json",
        "_lakemill/doctor/c/_delta_log/00000000000000000000.json",
        "a/b/c/0-1-2/part-0.parquet",
    ],
)
def test_other_keys_lead_nowhere(key: str) -> None:
    assert (committed_at_key(key), retired_at_key(key)) == (None, None)


def test_what_is_written_is_read() -> None:
    stone = tombstone(HERE)
    assert Tombstone.parse(stone.encode(), HERE) == stone


@pytest.mark.parametrize(
    "change",
    [{"contract_version": 2}, {"dataset": "other"}, {"token": "../x"}, {"retired_at": "noon"}, {"surprise": 1}],
)
def test_what_is_not_the_tombstone_of_that_coordinate_is_refused(change: dict[str, Any]) -> None:
    body = json.dumps({**json.loads(tombstone(HERE).encode()), **change}).encode()
    with pytest.raises(CorruptSnapshotError, match=str(HERE)):
        Tombstone.parse(body, HERE)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptSnapshotError):
        Tombstone.parse(data, HERE)
