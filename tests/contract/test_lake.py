"""One behaviour, two lakes: a folder and a real S3 server. Then what only the network can do to a commit."""

import base64
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from resources.lake.folder import FileLake
from resources.lake.probe import LakeProbe
from resources.lake.store import (
    Lake,
    LakeAccessError,
    LakeUnavailableError,
    ObjectInfo,
    ObjectMissingError,
    PutOutcome,
    S3Lake,
)
from resources.settings import LakeSettings
from tests.s3_server import SECRET_KEY, lossy_proxy, s3_server, settings_for


@pytest.fixture(scope="module")
def store() -> Iterator[LakeSettings]:
    with s3_server() as settings:
        yield settings


@pytest.fixture(params=["file", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "file":
        return FileLake(tmp_path)
    return S3Lake(request.getfixturevalue("store"), "lake")


@pytest.fixture
def folder() -> str:
    return f"{uuid4().hex}/"


def test_an_object_is_read_whole_and_from_its_end(lake: Lake, folder: str) -> None:
    lake.put(f"{folder}a", b"0123456789")
    assert lake.get(f"{folder}a") == b"0123456789"
    assert lake.tail(f"{folder}a", 4) == b"6789"
    assert lake.tail(f"{folder}a", 100) == b"0123456789"


def test_an_object_is_read_piece_by_piece(lake: Lake, folder: str) -> None:
    body = bytes(range(256)) * 10_000
    lake.put(f"{folder}a", body)
    assert b"".join(lake.chunks(f"{folder}a")) == body


def test_an_empty_object_has_an_empty_end(lake: Lake, folder: str) -> None:
    lake.put(f"{folder}empty", b"")
    assert lake.get(f"{folder}empty") == b""
    assert lake.tail(f"{folder}empty", 8) == b""


def test_what_is_not_there_is_none_or_an_error(lake: Lake, folder: str) -> None:
    assert lake.get(f"{folder}nothing") is None
    with pytest.raises(ObjectMissingError):
        lake.tail(f"{folder}nothing", 8)


def test_listing_goes_through_all_pages_in_order_and_stays_below_the_prefix(lake: Lake, folder: str) -> None:
    keys = [f"{folder}part-{number:05d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: lake.put(key, b"xy"), keys))
    lake.put(f"{folder[:-1]}-other/stranger", b"x")
    assert [found for found in lake.list(folder) if found.key != folder] == [ObjectInfo(key, 2) for key in keys]


def test_a_listing_tells_other_bytes_by_their_etag_and_when_they_were_stored(lake: Lake, folder: str) -> None:
    key = f"{folder}a"
    marks = []
    for body in (b"one", b"two", b"one"):
        lake.put(key, body)
        (found,) = [found for found in lake.list(folder) if found.key == key]
        assert found.modified_at is not None
        assert abs(datetime.now(UTC) - found.modified_at) < timedelta(seconds=30)
        marks.append(found.etag)
    assert None not in marks
    assert marks[0] != marks[1]


def test_deleting_is_repeatable(lake: Lake, folder: str) -> None:
    lake.put(f"{folder}a", b"x")
    lake.delete([f"{folder}a", f"{folder}never"])
    lake.delete([f"{folder}a"])
    assert lake.get(f"{folder}a") is None


def test_a_commit_is_created_once(lake: Lake, folder: str) -> None:
    key = f"{folder}_delta_log/0.json"
    first, second = lake.presign_commit(key, 60), lake.presign_commit(key, 60)
    assert first.send(b"first") is PutOutcome.CREATED
    assert second.send(b"second") is PutOutcome.EXISTS
    assert first.send(b"again") is PutOutcome.EXISTS
    assert lake.get(key) == b"first"


def test_of_64_writers_one_wins_in_each_of_20_rounds(lake: Lake, folder: str) -> None:
    with ThreadPoolExecutor(64) as pool:
        for number in range(20):
            key = f"{folder}round-{number}"
            bodies = [f"writer {writer}".encode() for writer in range(64)]
            puts = [(lake.presign_commit(key, 60), body) for body in bodies]
            outcomes = list(pool.map(lambda put: put[0].send(put[1]), puts))
            winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is PutOutcome.CREATED]
            assert [lake.get(key)] == winners
            assert outcomes.count(PutOutcome.EXISTS) == 63


def test_a_commit_says_until_when_it_is_valid(lake: Lake, folder: str) -> None:
    until = lake.presign_commit(f"{folder}commit", 60).expires_at - datetime.now(UTC)
    assert timedelta(seconds=50) < until <= timedelta(seconds=60)


def test_an_expired_commit_stores_nothing(lake: Lake, folder: str) -> None:
    late = lake.presign_commit(f"{folder}late", 1)
    lake.put(f"{folder}taken", b"x")
    probe = lake.presign_commit(f"{folder}taken", 1)
    deadline = time.monotonic() + 20
    while probe.send(b"x") is not PutOutcome.EXPIRED:
        assert time.monotonic() < deadline
    assert late.send(b"too late") is PutOutcome.EXPIRED
    assert lake.get(f"{folder}late") is None


def test_the_two_addresses_of_a_key(store: LakeSettings) -> None:
    lake = S3Lake(store, "lake")
    assert lake.url("a/b") == "s3://lake/a/b"
    assert lake.spark_url("a/b") == "s3a://lake/a/b"
    assert SECRET_KEY not in repr(lake) + repr(lake.presign_commit("a", 5))


def test_a_lost_answer_is_unknown_and_the_store_knows(store: LakeSettings, folder: str) -> None:
    with lossy_proxy(store.s3_endpoint or "") as (address, proxy):
        lake = S3Lake(settings_for(address), "lake")
        proxy.lose = 1
        put = lake.presign_commit(f"{folder}commit", 60)
        with pytest.raises(LakeUnavailableError):
            put.send(b"ours")
        assert proxy.lost == 1
        assert lake.get(f"{folder}commit") == b"ours"
        assert put.send(b"ours") is PutOutcome.EXISTS


def test_a_commit_that_changes_on_its_way_is_not_stored_and_may_be_sent_again(store: LakeSettings, folder: str) -> None:
    key = f"{folder}commit"
    with lossy_proxy(store.s3_endpoint or "") as (address, proxy):
        lake = S3Lake(settings_for(address), "lake")
        proxy.spoil = 1
        put = lake.presign_commit(key, 60)
        with pytest.raises(LakeUnavailableError, match="changed"):
            put.send(b"ours")
        assert lake.get(key) is None
        assert put.send(b"ours") is PutOutcome.CREATED
        assert lake.get(key) == b"ours"


def test_every_put_has_the_checksum_that_a_bucket_with_retention_demands(store: LakeSettings, folder: str) -> None:
    with lossy_proxy(store.s3_endpoint or "") as (address, proxy):
        settings = settings_for(address)
        S3Lake(settings, "lake").presign_commit(f"{folder}commit", 60).send(b"ours")
        S3Lake(settings, "lake").put(f"{folder}raw", b"ours")
        LakeProbe(settings, "lake").upload_in_parts(f"{folder}parts")
    sent = [seen for seen in proxy.seen if seen.method == "PUT"]
    assert len(sent) == 4
    for seen in sent:
        checksum = base64.b64encode(hashlib.md5(seen.body, usedforsecurity=False).digest()).decode()
        assert seen.headers["Content-MD5"] == checksum


def test_wrong_credentials_are_not_taken_for_expiry(store: LakeSettings, folder: str) -> None:
    lake = S3Lake(settings_for(store.s3_endpoint or "", "not-the-secret"), "lake")
    with pytest.raises(LakeAccessError):
        lake.presign_commit(f"{folder}commit", 60).send(b"x")
    with pytest.raises(LakeAccessError):
        lake.get(f"{folder}a")


def test_a_bucket_that_does_not_exist_is_an_access_error(store: LakeSettings) -> None:
    with pytest.raises(LakeAccessError):
        list(S3Lake(store, "no-such-bucket").list("a/"))
    with pytest.raises(LakeAccessError):
        S3Lake(store, "no-such-bucket").get("a")


def test_the_condition_is_part_of_the_signature(store: LakeSettings, folder: str) -> None:
    """Without If-None-Match in the signed headers, a changed client could replace a commit."""
    put = S3Lake(store, "lake").presign_commit(f"{folder}commit", 60)
    signed: str = put.signed_url  # type: ignore[attr-defined] # only S3's has one
    assert "X-Amz-SignedHeaders=host%3Bif-none-match" in signed
