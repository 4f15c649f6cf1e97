"""The S3 templates on a real SeaweedFS: what it accepts and enforces, and what it does not, as the README says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.running.task import Published
from cli.doctor import storage
from cli.doctor.check import Status
from cli.doctor.running import run_checks
from cli.doctor.site import Options, Site
from contracts.identity import Coordinate
from contracts.storage import commit_key, dataset_prefix, tombstone_key
from resources.lake.store import LakeAccessError, PutOutcome, S3Lake
from tests.bucket_policy import ROLES, S3_TEMPLATE, actions_of, filled, is_allowed
from tests.integration.role_store import ARNS, Store, delete, put, refused
from tests.integration.spark_mill import Mill, table_of
from tests.s3_server import ACCESS_KEY, SECRET_KEY, Seen, lossy_proxy, s3_server

UNKNOWN_CONDITIONS = ("NobodyReplacesACommit", "OnlyTheWriterWrites", "OnlyGcDeletesData")
"""Statements with conditions that SeaweedFS does not know: it denies whatever they could deny."""
BEFORE_TLS = (*UNKNOWN_CONDITIONS, "NobodyWithoutTls")
COORDINATE = Coordinate("cust_8842", "v1", "revenue")
FOLDER = f"{dataset_prefix(COORDINATE)}01924f5e-8c00-7b3a-9d41-6f0c2a7e5b10-1-0123456789abcdef/"
RETIRED = commit_key(Coordinate("cust_8842", "v2", "revenue"))
COMMIT, DATA, WORK = commit_key(COORDINATE), f"{FOLDER}part-0.parquet", f"{FOLDER}__magic_job-1/x.pending"


def read(name: str) -> Any:
    return json.loads((S3_TEMPLATE / name).read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    users = [
        {"name": "admin", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
    ]
    for name in (*ROLES, "SPARK"):
        keys = {"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}
        rights = ["Read", "Write", "List"] if name == "SPARK" else []
        users.append({"name": name, "credentials": [keys], "actions": rights})
    file: Path = tmp_path_factory.mktemp("weed") / "users.json"
    file.write_text(json.dumps({"identities": users}))
    with s3_server([f"-s3.config={file}"]) as settings:
        yield Store(settings)


@pytest.fixture
def policed(store: Store) -> Iterator[Store]:
    store.apply(BEFORE_TLS)
    yield store
    store.admin.delete_bucket_policy(Bucket="lake")


def test_each_role_has_its_rights_and_no_more(policed: Store) -> None:
    writer, reader, gc = (policed.user(role) for role in ROLES)
    assert put(writer, DATA)
    assert put(writer, WORK)
    assert S3Lake(policed.keys_of("WRITER"), "lake").presign_commit(COMMIT, 60).send(b"{}") is PutOutcome.CREATED
    assert S3Lake(policed.keys_of("WRITER"), "lake").presign_commit(COMMIT, 60).send(b"{}") is PutOutcome.EXISTS
    assert not put(writer, "stray")
    assert not put(writer, f"{dataset_prefix(COORDINATE)}_delta_log/00000000000000000001.json")
    assert [delete(writer, key) for key in (WORK, DATA, COMMIT)] == [True, False, False]

    assert reader.get_object(Bucket="lake", Key=COMMIT)["Body"].read() == b"{}"
    with pytest.raises(reader.exceptions.NoSuchKey):  # missing is told from forbidden
        reader.get_object(Bucket="lake", Key=f"{FOLDER}absent")
    assert not put(reader, DATA)
    assert not delete(reader, DATA)

    assert [delete(gc, key) for key in (COMMIT, DATA)] == [False, True]
    assert not put(gc, DATA)
    assert not delete(policed.admin, COMMIT)


def test_gc_retires_once_an_administrator_has_lifted_the_rule(policed: Store) -> None:
    assert S3Lake(policed.keys_of("WRITER"), "lake").presign_commit(RETIRED, 60).send(b"{}") is PutOutcome.CREATED
    gc, stone = S3Lake(policed.keys_of("GC"), "lake"), tombstone_key(COORDINATE)
    gc.put(stone, b"{}")
    with pytest.raises(LakeAccessError):
        gc.delete([RETIRED])
    policed.apply((*BEFORE_TLS, "NobodyDeletesACommit"))
    gc.delete([RETIRED])
    assert gc.get(RETIRED) is None
    with pytest.raises(LakeAccessError):
        gc.delete([stone])
    assert not delete(policed.admin, stone)


LANDING = "arn:aws:s3:::landing"
BOTH_PLANES_READ = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": [ARNS["WRITER"], ARNS["READER"]]},
            "Action": ["s3:ListBucket", "s3:GetObject"],
            "Resource": [LANDING, f"{LANDING}/*"],
        }
    ],
}


@pytest.mark.parametrize("role", ["WRITER", "READER"])
def test_the_doctor_is_content_with_the_rights_of_either_plane(policed: Store, role: str) -> None:
    policed.admin.put_bucket_policy(Bucket="landing", Policy=json.dumps(BOTH_PLANES_READ))
    site = Site(Options(writers=2, rounds=2), lake=policed.keys_of(role))
    found = {check.name: result for check, result in run_checks(site, storage.CHECKS)}
    assert [(name, result.detail) for name, result in found.items() if result.status is Status.FAIL] == []
    assert "cannot be checked" not in found["storage.lifecycle"].detail
    assert {name for name, result in found.items() if result.status is Status.SKIP} == {"storage.logs_rights"}


def spark_run(store: Store, role: str, endpoint: str | None = None) -> Published:
    """Write and commit one small table as a run does, with the keys of ``role``."""
    settings = store.keys_of(role)
    mill = Mill(settings.model_copy(update={"s3_endpoint": endpoint or settings.s3_endpoint}))
    mill.entity = f"by-{role}"
    try:
        return mill.run(table_of(mill, "a int", [(1,), (2,)]))
    finally:
        mill.sessions.close()


@pytest.fixture(scope="module")
def requests(store: Store) -> list[Seen]:
    """All that a run asked the store for, with the variable that the README gives it for Object Lock."""
    (value,) = re.findall(r'name: PYSPARK_SUBMIT_ARGS, value: "(.+)"', (S3_TEMPLATE / "README.md").read_text())
    with pytest.MonkeyPatch.context() as patch, lossy_proxy(store.settings.s3_endpoint or "") as (address, proxy):
        patch.setenv("PYSPARK_SUBMIT_ARGS", value)
        assert spark_run(store, "SPARK", address).commit.rows == 2
    return proxy.seen


def test_every_put_of_a_run_has_the_checksum_that_a_retaining_bucket_demands(requests: list[Seen]) -> None:
    puts = [{name.lower(): value for name, value in seen.headers.items()} for seen in requests if seen.method == "PUT"]
    assert len(puts) > 5
    for headers in puts:
        assert "content-md5" in headers or headers["x-amz-trailer"] == "x-amz-checksum-crc32c"


def test_a_spark_run_asks_for_nothing_that_the_policy_forbids_its_writer(requests: list[Seen]) -> None:
    policy = filled(ARNS)
    asked = [(action, key, facts) for seen in requests for action, key, facts in actions_of(seen)]
    assert {action for action, _, _ in asked} >= {"s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"}
    assert [each for each in asked if not is_allowed(policy, ARNS["WRITER"], *each)] == []


def test_with_rights_of_its_own_a_writer_still_cannot_delete_a_commit(store: Store) -> None:
    spark = store.user("SPARK")
    key = COMMIT.replace("v1", "own-rights")
    store.apply(BEFORE_TLS)
    assert put(spark, key, IfNoneMatch="*")
    deleted = delete(spark, key)
    store.admin.delete_bucket_policy(Bucket="lake")
    assert not deleted


@pytest.mark.parametrize("sid", UNKNOWN_CONDITIONS)
def test_conditions_that_seaweedfs_does_not_know_deny_too_much(store: Store, sid: str) -> None:
    """When this fails, SeaweedFS has learnt the condition: leave the statement in, and correct the README."""
    store.apply(tuple(name for name in BEFORE_TLS if name != sid))
    writer, gc = store.user("WRITER"), store.user("GC")
    key = COMMIT.replace("v1", sid)
    allowed_elsewhere = delete(gc, DATA) if sid == "OnlyGcDeletesData" else put(writer, key, IfNoneMatch="*")
    store.admin.delete_bucket_policy(Bucket="lake")
    assert not allowed_elsewhere


def test_nobody_does_anything_without_tls(store: Store) -> None:
    bucket = "no-tls"
    store.admin.create_bucket(Bucket=bucket)
    policy = filled(ARNS, bucket, UNKNOWN_CONDITIONS)
    store.admin.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    for client in (store.admin, *(store.user(role) for role in ROLES)):
        assert refused(client.get_object, Bucket=bucket, Key=DATA)
        assert refused(client.put_object, Bucket=bucket, Key=DATA, Body=b"x")
        assert refused(client.list_objects_v2, Bucket=bucket)


def test_the_lifecycle_is_taken_and_given_back(store: Store) -> None:
    rules = read("lifecycle.json")
    store.admin.put_bucket_lifecycle_configuration(Bucket="lake", LifecycleConfiguration=rules)
    assert store.admin.get_bucket_lifecycle_configuration(Bucket="lake")["Rules"] == rules["Rules"]


@pytest.mark.parametrize(("mode", "can_be_bypassed"), [("governance", True), ("compliance", False)])
def test_a_retained_version_cannot_be_deleted(store: Store, mode: str, can_be_bypassed: bool) -> None:
    bucket, lock = f"locked-{mode}", read(f"object-lock-{mode}.json")
    store.admin.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    store.admin.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    assert S3Lake(store.settings, bucket).presign_commit(COMMIT, 60).send(b"first") is PutOutcome.CREATED
    version = {
        "Bucket": bucket,
        "Key": COMMIT,
        "VersionId": store.admin.head_object(Bucket=bucket, Key=COMMIT)["VersionId"],
    }
    assert refused(store.admin.delete_object, **version)
    store.admin.put_object(Bucket=bucket, Key=COMMIT, Body=b"second")  # the lock holds versions, not names
    store.admin.delete_object(Bucket=bucket, Key=COMMIT)
    assert store.admin.get_object(**version)["Body"].read() == b"first"
    assert refused(store.admin.delete_object, **version, BypassGovernanceRetention=True) is not can_be_bypassed
