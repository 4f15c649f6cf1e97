"""The checks of the object store against stores that do it wrong."""

import pytest

from cli.doctor.check import Group, Result, Status
from cli.doctor.site import Options, Site
from resources.settings import LakeSettings
from tests.doctor import ask, ask_group, proves
from tests.fake_s3 import FakeStore, fake_store

FAST = Options(writers=2, rounds=2, logs_bucket="logs")


def test_a_store_that_does_it_right_passes() -> None:
    store = FakeStore()
    with fake_store(store) as lake:
        found = ask_group(Site(FAST, lake=lake), Group.STORAGE)
    assert {name: result.status for name, result in found.items() if result.status is not Status.PASS} == {
        "storage.lifecycle": Status.WARN  # the fake has none
    }
    assert store.objects == {}
    assert store.uploads == {}


def assert_found(fault: str, name: str, words: str) -> None:
    """Ask one check about a store with one fault."""
    store = FakeStore(fault)
    store.objects["landing/cust/v1/raw.csv"] = b"a,b"
    with fake_store(store) as lake:
        found = ask(Site(FAST, lake=lake, sleep=store.wait), name)
    assert (found.status, words in found.detail) == (Status.FAIL, True), found


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("races", "2 of 2 writers were told"),
        ("overwrites", "in 2 of 2 rounds"),
        ("corrupts", "not the winner's"),
    ],
)
@proves("storage.conditional_put")
def test_a_key_without_one_winner_is_found(fault: str, words: str) -> None:
    assert_found(fault, "storage.conditional_put", words)


@proves("storage.presigned_conditional", "storage.presigned_expiry")
def test_presigned_writes_that_are_taken_and_must_not_be_are_found() -> None:
    assert_found("overwrites", "storage.presigned_conditional", "another one now")
    assert_found("forgets expiry", "storage.presigned_expiry", "'created'")


@pytest.mark.parametrize(("fault", "words"), [("cuts parts", "5242880 bytes"), ("keeps uploads", "still there")])
@proves("storage.multipart")
def test_uploads_in_parts_that_go_wrong_are_found(fault: str, words: str) -> None:
    assert_found(fault, "storage.multipart", words)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("corrupts", "does not read back"),
        ("refuses reads", "403 AccessDenied"),
        ("keeps objects", "cannot be removed"),
    ],
)
@proves("storage.lake_rights")
def test_rights_that_the_lake_does_not_give_are_found(fault: str, words: str) -> None:
    assert_found(fault, "storage.lake_rights", words)


@proves("storage.logs_rights", "storage.landing_rights")
def test_rights_that_the_other_buckets_do_not_give_are_found() -> None:
    assert_found("corrupts", "storage.logs_rights", "does not read back")
    assert_found("refuses reads", "storage.landing_rights", "403 AccessDenied to s3:GetObject")


@pytest.mark.parametrize(
    ("skew", "status"),
    [(3.5, Status.WARN), (-3.5, Status.WARN), (9, Status.FAIL), (-9, Status.FAIL)],
)
@proves("storage.clock")
def test_a_clock_that_is_off_is_found(skew: float, status: Status) -> None:
    with fake_store(FakeStore(skew=skew)) as lake:
        found = ask(Site(FAST, lake=lake), "storage.clock")
    assert found.status is status, found


@proves("storage.tls")
def test_an_open_connection_to_another_host_is_a_warning() -> None:
    with fake_store(FakeStore()) as lake:
        assert ask(Site(FAST, lake=lake), "storage.tls").status is Status.PASS
        found = over(lake, "http://store.example.com:8333")
    assert (found.status, "http: the connection is not encrypted" in found.detail) == (Status.WARN, True), found


@pytest.mark.parametrize("endpoint", [None, "https://store.example.com", "http://localhost:8333", "http://[::1]:8333"])
def test_a_connection_that_is_encrypted_or_stays_here_passes(endpoint: str | None) -> None:
    found = over(LakeSettings(), endpoint)
    assert found.status is Status.PASS, found


def over(lake: LakeSettings, endpoint: str | None) -> Result:
    """Return what is found of the connection to a store at ``endpoint`` that has answered."""
    site = Site(FAST, lake=lake.model_copy(update={"s3_endpoint": endpoint}))
    site.once("store", lambda: None)
    return ask(site, "storage.tls")


ABORT = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"


@pytest.mark.parametrize(
    "rule",
    [
        "<Prefix></Prefix><Transition><Days>9</Days><StorageClass>STANDARD_IA</StorageClass></Transition>",
        "<Prefix></Prefix><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        "<Filter><And><Prefix></Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>"
        "<Expiration><Days>9</Days></Expiration>",
    ],
)
def test_a_rule_that_spares_snapshots_passes(rule: str) -> None:
    found = lifecycle_with(rule)
    assert found.status is Status.PASS, found


@pytest.mark.parametrize(
    "rule",
    [
        "<Prefix></Prefix><Transition><Days>9</Days><StorageClass>GLACIER</StorageClass></Transition>",
        "<Prefix></Prefix><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>",
        "<Filter><And><Prefix>cust</Prefix></And></Filter><Expiration><Days>9</Days></Expiration>",
    ],
)
@proves("storage.lifecycle")
def test_a_rule_that_takes_snapshots_away_is_found(rule: str) -> None:
    found = lifecycle_with(rule)
    assert found.status is Status.FAIL, found


def lifecycle_with(rule: str) -> Result:
    """Return what is found of a bucket with this rule, beside the one that aborts uploads."""
    store = FakeStore()
    store.rules = "".join(f"<Rule><ID>r</ID><Status>Enabled</Status>{each}</Rule>" for each in (rule, ABORT))
    with fake_store(store) as lake:
        return ask(Site(FAST, lake=lake), "storage.lifecycle")


def test_a_store_whose_clock_is_behind_still_ends_a_presigned_put() -> None:
    store = FakeStore(skew=-2)
    with fake_store(store) as lake:
        found = ask(Site(FAST, lake=lake, sleep=store.wait), "storage.presigned_expiry")
    assert found.status is Status.PASS, found


def test_the_logs_are_skipped_when_their_bucket_is_not_named() -> None:
    with fake_store(FakeStore()) as lake:
        found = ask(Site(Options(), lake=lake), "storage.logs_rights", wanted=True)
    assert found.status is Status.SKIP
    assert "--logs" in found.detail


def test_nothing_is_left_when_a_check_fails() -> None:
    store = FakeStore("overwrites")
    with fake_store(store) as lake:
        assert ask(Site(FAST, lake=lake), "storage.conditional_put").status is Status.FAIL
    assert store.objects == {}
