"""The S3 templates by themselves: the grammar is the storage contract's, and the policy means what its README says."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from cli.doctor.scratch import ROOT
from contracts.identity import TOKEN_PATTERN, Coordinate, new_token, safe_id, safe_name
from contracts.storage import STORAGE_CONTRACT_VERSION, commit_key, token_prefix, tombstone_key
from tests.bucket_policy import BUCKET, ROLES, S3_TEMPLATE, filled, is_allowed

ARNS = {role: f"arn:aws:iam::123456789012:role/lakemill-{role.lower()}" for role in ROLES}
WRITER, READER, GC = (ARNS[role] for role in ROLES)
ADMIN = "arn:aws:iam::123456789012:role/administrator"
POLICY = filled(ARNS)
LAYOUT = json.loads((S3_TEMPLATE / "layout.json").read_text())
COMMIT, TOMBSTONE = "commit", "tombstone"
PUT, GET, DELETE = "s3:PutObject", "s3:GetObject", "s3:DeleteObject"
CONDITIONAL = {"s3:if-none-match": "*"}
PLAIN_HTTP = {"aws:SecureTransport": "false", **CONDITIONAL}

ids = st.from_regex(LAYOUT["parts"]["entity_id"], fullmatch=True, alphabet=st.characters(codec="ascii"))
names = st.from_regex(LAYOUT["parts"]["dataset"], fullmatch=True, alphabet=st.characters(codec="ascii"))


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((S3_TEMPLATE / name).read_text())
    return content


def kinds_of(key: str) -> set[str]:
    """Return the kinds of key whose form in the layout matches."""
    found = set()
    for kind, facts in LAYOUT["keys"].items():
        pattern = facts["form"]
        for part, rule in LAYOUT["parts"].items():
            pattern = pattern.replace(f"{{{part}}}", f"(?:{rule})")
        if re.fullmatch(pattern, key):
            found.add(kind)
    return found


def keys_of(coordinate: Coordinate) -> dict[str, str]:
    folder = token_prefix(coordinate, new_token(str(uuid4()), 3))
    return {
        "commit": commit_key(coordinate),
        "data": f"{folder}part-00000-{uuid4()}-c000.snappy.parquet",
        "success marker": f"{folder}_SUCCESS",
        "folder marker": folder,
        "work file": f"{folder}__magic_job-{uuid4()}/job-1/tasks/attempt_1/__base/part-0.parquet.pending",
        "tombstone": tombstone_key(coordinate),
    }


EXAMPLE = keys_of(Coordinate("cust_8842", "v2024.10.05", "revenue"))
IN_TOKEN = [key for kind, key in EXAMPLE.items() if kind not in {COMMIT, TOMBSTONE}]
STRANGE = [
    "stray",
    "cust_8842/v2024.10.05/revenue/part-0.parquet",
    "cust_8842/v2024.10.05/revenue/not-a-token/part-0.parquet",
    "cust_8842/v2024.10.05/revenue/_delta_log/00000000000000000001.json",
    "cust_8842/v2024.10.05/revenue/_delta_log/_last_checkpoint",
]


@given(ids, ids, names)
def test_every_key_of_the_contract_is_of_one_kind_and_of_one_role(entity: str, version: str, name: str) -> None:
    keys = keys_of(Coordinate(safe_id(entity), safe_id(version), safe_name(name)))
    assert keys.keys() == LAYOUT["keys"].keys()
    for kind, key in keys.items():
        assert kinds_of(key) == {kind}
        assert [who for who in (WRITER, READER, GC) if is_allowed(POLICY, who, PUT, key, CONDITIONAL)] == [
            GC if kind == TOMBSTONE else WRITER
        ]


@given(st.text(max_size=12))
def test_the_layout_knows_no_other_id_than_the_contract(value: str) -> None:
    try:
        safe_id(value)
    except ValueError:
        assert not re.fullmatch(LAYOUT["parts"]["entity_id"], value)
    else:
        assert re.fullmatch(LAYOUT["parts"]["entity_id"], value)


def test_a_token_has_one_grammar_in_the_layout_the_contract_and_on_its_page() -> None:
    rule = LAYOUT["parts"]["token"]
    page = (Path(__file__).parents[2] / "docs" / "storage-contract.md").read_text()
    assert f"^{rule}$" in page
    assert TOKEN_PATTERN.pattern == rf"^{rule}\Z"
    for wrong in ("-" * 36, "0" * 36, str(uuid4()).upper()):
        with pytest.raises(ValueError, match="is not a token"):
            token_prefix(Coordinate("e", "v1", "made"), new_token(wrong, 1))


def test_the_layout_is_of_the_version_that_is_written() -> None:
    assert LAYOUT["storage_contract"] == STORAGE_CONTRACT_VERSION
    assert [key for key in STRANGE if kinds_of(key)] == []


def test_a_commit_is_put_once_and_deleted_by_nobody() -> None:
    key = EXAMPLE[COMMIT]
    assert is_allowed(POLICY, WRITER, PUT, key, CONDITIONAL)
    assert not is_allowed(POLICY, WRITER, PUT, key)
    for who in (WRITER, READER, GC, ADMIN):
        assert not is_allowed(POLICY, who, DELETE, key, is_admin=True)
        assert not is_allowed(POLICY, who, "s3:DeleteObjectVersion", key, is_admin=True)


@pytest.mark.parametrize("key", STRANGE)
def test_the_writer_puts_nothing_else(key: str) -> None:
    assert not is_allowed(POLICY, WRITER, PUT, key, CONDITIONAL)


def test_the_writer_deletes_its_work_files_only() -> None:
    assert [kind for kind, key in EXAMPLE.items() if is_allowed(POLICY, WRITER, DELETE, key)] == ["work file"]
    assert is_allowed(POLICY, WRITER, "s3:AbortMultipartUpload", EXAMPLE["data"])
    assert is_allowed(POLICY, WRITER, "s3:ListBucketMultipartUploads")


def test_the_doctor_may_try_the_store_where_nothing_is_published() -> None:
    key = f"{ROOT}0123/conditional"
    for who in (WRITER, READER):
        assert all(is_allowed(POLICY, who, action, key) for action in (PUT, GET, DELETE))
        assert is_allowed(POLICY, who, "s3:ListBucketMultipartUploads")
        assert is_allowed(POLICY, who, "s3:GetLifecycleConfiguration")
    assert not any(is_allowed(POLICY, GC, action, key) for action in (PUT, DELETE))
    with pytest.raises(ValueError, match="beginning with a letter"):
        safe_id("_lakemill")


def test_a_reader_reads() -> None:
    for key in EXAMPLE.values():
        assert is_allowed(POLICY, READER, GET, key)
        assert not any(is_allowed(POLICY, READER, action, key, CONDITIONAL) for action in (PUT, DELETE))
    assert is_allowed(POLICY, READER, "s3:ListBucket")
    assert not is_allowed(POLICY, "arn:aws:iam::999999999999:role/stranger", GET, EXAMPLE[COMMIT])


def test_gc_deletes_below_token_folders_only() -> None:
    assert all(is_allowed(POLICY, GC, DELETE, key) for key in IN_TOKEN)
    assert not any(is_allowed(POLICY, GC, DELETE, key) for key in [EXAMPLE[COMMIT], *STRANGE])
    assert [kind for kind, key in EXAMPLE.items() if is_allowed(POLICY, GC, PUT, key, CONDITIONAL)] == [TOMBSTONE]


def test_only_gc_retires_and_only_once_an_administrator_has_lifted_the_rule() -> None:
    lifted = filled(ARNS, without=("NobodyDeletesACommit",))
    for who, may in ((WRITER, False), (READER, False), (GC, True), (ADMIN, False)):
        assert is_allowed(lifted, who, DELETE, EXAMPLE[COMMIT], is_admin=who == ADMIN) == may
        assert not is_allowed(lifted, who, DELETE, EXAMPLE[TOMBSTONE], is_admin=who == ADMIN)
    assert not is_allowed(lifted, GC, "s3:DeleteObjectVersion", EXAMPLE[COMMIT])


def test_an_administrator_neither_writes_nor_deletes_nor_lifts_the_lock() -> None:
    for action in (PUT, DELETE, "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        assert not is_allowed(POLICY, ADMIN, action, EXAMPLE["data"], CONDITIONAL, is_admin=True), action
    assert is_allowed(POLICY, ADMIN, "s3:PutBucketPolicy", is_admin=True)


def test_nobody_does_anything_without_tls() -> None:
    for who in (WRITER, READER, GC, ADMIN):
        for action, key in ((GET, EXAMPLE["data"]), (PUT, EXAMPLE[COMMIT]), ("s3:ListBucket", None)):
            assert not is_allowed(POLICY, who, action, key, PLAIN_HTTP, is_admin=True)


def test_the_policy_is_one_that_s3_takes() -> None:
    statements = POLICY["Statement"]
    assert POLICY["Version"] == "2012-10-17"
    assert len(json.dumps(POLICY)) < 20_480  # S3's own bound
    assert len({statement["Sid"] for statement in statements}) == len(statements)
    for statement in statements:
        assert re.fullmatch("[A-Za-z0-9]+", statement["Sid"])
        assert statement["Effect"] in {"Allow", "Deny"}
        assert "*" not in json.dumps(statement["Principal"]) or statement["Effect"] == "Deny"
        resources = statement.get("Resource", statement.get("NotResource"))
        for resource in resources if isinstance(resources, list) else [resources]:
            assert re.fullmatch(rf"arn:aws:s3:::{BUCKET}(/.+)?", resource)
    assert not re.search("_ROLE_ARN|LAKE_BUCKET", json.dumps(POLICY))


def test_the_readme_names_every_placeholder_and_file() -> None:
    readme = (S3_TEMPLATE / "README.md").read_text()
    placeholders = set(re.findall(r"[A-Z]+_ROLE_ARN|LAKE_BUCKET", (S3_TEMPLATE / "bucket-policy.json").read_text()))
    assert {name for name in placeholders if f"| `{name}` |" not in readme} == set()
    assert {path.name for path in S3_TEMPLATE.glob("*.json") if f"`{path.name}`" not in readme} == set()
    sids = {statement["Sid"] for statement in POLICY["Statement"]}
    assert set(re.findall(r"`((?:Nobody|Only)\w+)`", readme)) <= sids


def test_no_rule_of_the_lifecycle_touches_what_is_published() -> None:
    rules = read("lifecycle.json")["Rules"]
    for rule in rules:
        assert rule.keys().isdisjoint({"Expiration", "Transitions", "NoncurrentVersionTransitions"})
    abort, expire = rules
    assert (abort["Status"], abort["Filter"]) == ("Enabled", {"Prefix": ""})
    assert abort["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert expire["Status"] == "Disabled"


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_the_lock_retains_by_default(mode: str) -> None:
    lock = read(f"object-lock-{mode}.json")
    assert lock["ObjectLockEnabled"] == "Enabled"
    assert lock["Rule"]["DefaultRetention"]["Mode"] == mode.upper()
    assert lock["Rule"]["DefaultRetention"]["Days"] >= 30


@pytest.mark.parametrize(
    ("operation", "parameter", "file"),
    [
        ("PutBucketLifecycleConfiguration", "LifecycleConfiguration", "lifecycle.json"),
        ("PutObjectLockConfiguration", "ObjectLockConfiguration", "object-lock-governance.json"),
        ("PutObjectLockConfiguration", "ObjectLockConfiguration", "object-lock-compliance.json"),
    ],
)
def test_the_files_have_the_shape_of_the_api(operation: str, parameter: str, file: str) -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    shape = client.meta.service_model.operation_model(operation).input_shape
    report = ParamValidator().validate({"Bucket": BUCKET, parameter: read(file)}, shape)
    assert not report.has_errors(), report.generate_report()
