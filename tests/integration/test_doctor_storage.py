"""The checks of the object store and of the storage contract against a real S3 server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import boto3
import pytest

from cli.doctor.check import Group, Status
from cli.doctor.site import Options, Site
from contracts.commit import Commit, DataFile, Provenance
from contracts.identity import Coordinate, new_token
from contracts.storage import commit_key
from resources.lake.store import S3Lake
from resources.settings import LakeSettings
from tests.doctor import ask, ask_group, proves
from tests.s3_server import s3_server, settings_for

FAST = Options(writers=4, rounds=3, logs_bucket="lake")


@pytest.fixture(scope="module")
def server() -> Iterator[LakeSettings]:
    with s3_server() as settings:
        yield settings


@pytest.fixture
def store(server: LakeSettings) -> LakeSettings:
    """The store with a lake of this test's own."""
    bucket = f"lake-{uuid4().hex}"
    client(server).create_bucket(Bucket=bucket)
    return server.model_copy(update={"lake_bucket": bucket})


def client(settings: LakeSettings) -> Any:
    assert settings.s3_secret_key is not None
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
    )


def put_rules(settings: LakeSettings, *rules: dict[str, Any]) -> None:
    whole = [{"ID": f"rule {number}", "Status": "Enabled", **rule} for number, rule in enumerate(rules)]
    client(settings).put_bucket_lifecycle_configuration(
        Bucket=settings.lake_bucket, LifecycleConfiguration={"Rules": whole}
    )


def test_a_real_store_passes_and_is_left_as_it_was(store: LakeSettings) -> None:
    put_rules(store, {"Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}})
    found = ask_group(Site(FAST, lake=store), Group.STORAGE)
    assert {name: result for name, result in found.items() if result.status is not Status.PASS} == {}
    assert list(S3Lake(store, store.lake_bucket).list("")) == []


ABORT = {"Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}


@pytest.mark.parametrize(
    "rule",
    [
        {"Filter": {"Prefix": "_logs/"}, "Expiration": {"Days": 30}},
        {"Filter": {"Prefix": "_lakemill/doctor/"}, "Expiration": {"Days": 30}},
        {"Filter": {"Prefix": ""}, "Expiration": {"Days": 9}, "Status": "Disabled"},
    ],
)
def test_a_lifecycle_rule_that_spares_what_stays_passes(store: LakeSettings, rule: dict[str, Any]) -> None:
    put_rules(store, rule, ABORT)
    found = ask(Site(FAST, lake=store), "storage.lifecycle")
    assert (found.status, "after 7 days" in found.detail) == (Status.PASS, True), found


@pytest.mark.parametrize(
    ("rules", "status", "words"),
    [
        ([], Status.WARN, "none aborts"),
        ([{"Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}, ABORT], Status.FAIL, "'rule 0' expires"),
        ([{"Filter": {"Prefix": "cust_1/"}, "Expiration": {"Days": 30}}, ABORT], Status.FAIL, "'rule 0' expires"),
        ([{"Filter": {"Prefix": "_"}, "Expiration": {"Days": 30}}, ABORT], Status.FAIL, "'rule 0' expires"),
        ([{"Filter": {"Prefix": "_lakemill/"}, "Expiration": {"Days": 30}}, ABORT], Status.FAIL, "or tombstones"),
        ([{"Filter": {"Prefix": "_lakemill/retired/e"}, "Expiration": {"Days": 30}}, ABORT], Status.FAIL, "tombstones"),
        ([ABORT | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}], Status.WARN, "after 1 days"),
        ([ABORT | {"Filter": {"Prefix": "cust_1/"}}], Status.WARN, "none aborts"),
    ],
)
@proves("storage.lifecycle")
def test_a_lifecycle_rule_that_harms_or_is_missing_is_found(
    store: LakeSettings, rules: list[dict[str, Any]], status: Status, words: str
) -> None:
    if rules:
        put_rules(store, *rules)
    found = ask(Site(FAST, lake=store), "storage.lifecycle")
    assert (found.status, words in found.detail) == (status, True), found


@pytest.mark.parametrize(
    "name", ["storage.lake_rights", "storage.landing_rights", "storage.clock", "storage.multipart", "contract.versions"]
)
def test_wrong_credentials_are_told_without_the_secret(server: LakeSettings, name: str) -> None:
    assert server.s3_endpoint is not None
    wrong = settings_for(server.s3_endpoint, secret="canary-that-must-not-be-shown")
    found = ask(Site(FAST, lake=wrong), name)
    assert found.status is Status.FAIL
    assert "403" in found.detail
    assert "canary" not in found.detail


def test_a_bucket_that_is_not_there_is_told(server: LakeSettings) -> None:
    site = Site(FAST, lake=server.model_copy(update={"landing_bucket": "nowhere"}))
    found = ask(site, "storage.landing_rights")
    assert (found.status, "NoSuchBucket" in found.detail) == (Status.FAIL, True), found


def test_a_store_that_is_away_is_told() -> None:
    found = ask(Site(FAST, lake=settings_for("http://127.0.0.1:9")), "storage.lake_rights")
    assert found.status is Status.FAIL


def commit(entity: str) -> tuple[str, bytes]:
    coordinate = Coordinate(entity, "v1", "revenue")
    provenance = Provenance(
        token=new_token(str(uuid4()), 1),
        run_id="run",
        process_id=None,
        attempt=None,
        tenant=None,
        action="aggregate_revenue",
        action_digest="a" * 64,
        inputs={},
        params={},
        checks=[],
    )
    whole = Commit(
        coordinate=coordinate,
        committed_at=datetime.now(UTC),
        schema_string="{}",
        files=[DataFile(name="part-0.parquet", size=1, rows=1)],
        provenance=provenance,
    )
    return commit_key(coordinate), whole.encode()


def test_commits_of_this_contract_pass(store: LakeSettings) -> None:
    lake = S3Lake(store, store.lake_bucket)
    assert ask(Site(FAST, lake=store), "contract.versions").detail.startswith("commits looked at: none")
    for entity in ("a", "b"):
        lake.put(*commit(entity))
    lake.put("a/v1/revenue/token/part-0.parquet", b"x")
    lake.put("a/v1/No Dataset/_delta_log/00000000000000000000.json", b"{}")  # no coordinate: nobody's commit
    found = ask(Site(FAST, lake=store), "contract.versions")
    assert (found.status, "2 of version 1" in found.detail) == (Status.PASS, True), found


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ((b'contract_version":"1"', b'contract_version":"9"'), Status.WARN, "1 of version 1, 1 of version 9"),
        ((b"lakemill.contract_version", b"somebody.elses"), Status.FAIL, "b/v1/revenue"),
        ((b"{", b"["), Status.FAIL, "1 of 2 commits"),
    ],
)
@proves("contract.versions")
def test_commits_of_another_contract_are_found(
    store: LakeSettings, change: tuple[bytes, bytes], status: Status, words: str
) -> None:
    lake = S3Lake(store, store.lake_bucket)
    lake.put(*commit("a"))
    key, body = commit("b")
    lake.put(key, body.replace(*change))
    found = ask(Site(FAST, lake=store), "contract.versions")
    assert (found.status, words in found.detail) == (status, True), found
