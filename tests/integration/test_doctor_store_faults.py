"""The checks of the object store against stores that do it wrong."""

import pytest

from cli.doctor.check import Group, Status
from cli.doctor.site import Options, Site
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


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        ("races", "storage.conditional_put", "2 of 2 writers were told"),
        ("overwrites", "storage.conditional_put", "in 2 of 2 rounds"),
        ("corrupts", "storage.conditional_put", "not the winner's"),
        ("overwrites", "storage.presigned_conditional", "another one now"),
        ("forgets expiry", "storage.presigned_expiry", "'created'"),
        ("cuts parts", "storage.multipart", "5242880 bytes"),
        ("keeps uploads", "storage.multipart", "still there"),
        ("corrupts", "storage.lake_rights", "does not read back"),
        ("refuses reads", "storage.lake_rights", "403 AccessDenied"),
        ("keeps objects", "storage.lake_rights", "cannot be removed"),
        ("corrupts", "storage.logs_rights", "does not read back"),
        ("refuses reads", "storage.landing_rights", "403 AccessDenied to s3:GetObject"),
    ],
)
@proves(
    "storage.conditional_put",
    "storage.presigned_conditional",
    "storage.presigned_expiry",
    "storage.multipart",
    "storage.lake_rights",
    "storage.logs_rights",
    "storage.landing_rights",
)
def test_a_store_that_does_it_wrong_is_found(fault: str, name: str, words: str) -> None:
    store = FakeStore(fault)
    store.objects["landing/cust/v1/raw.csv"] = b"a,b"
    with fake_store(store) as lake:
        found = ask(Site(FAST, lake=lake), name)
    assert (found.status, words in found.detail) == (Status.FAIL, True), found


@pytest.mark.parametrize(
    ("skew", "status"),
    [(0, Status.PASS), (3.5, Status.WARN), (-3.5, Status.WARN), (9, Status.FAIL), (-9, Status.FAIL)],
)
@proves("storage.clock")
def test_a_clock_that_is_off_is_found(skew: float, status: Status) -> None:
    with fake_store(FakeStore(skew=skew)) as lake:
        found = ask(Site(FAST, lake=lake), "storage.clock")
    assert found.status is status, found


ABORT = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("<Prefix></Prefix><Transition><Days>9</Days><StorageClass>GLACIER</StorageClass></Transition>", Status.FAIL),
        (
            "<Prefix></Prefix><Transition><Days>9</Days><StorageClass>STANDARD_IA</StorageClass></Transition>",
            Status.PASS,
        ),
        ("<Prefix></Prefix><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>", Status.FAIL),
        (
            "<Prefix></Prefix><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            Status.PASS,
        ),
        (
            "<Filter><And><Prefix></Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>"
            "<Expiration><Days>9</Days></Expiration>",
            Status.PASS,
        ),
        ("<Filter><And><Prefix>cust</Prefix></And></Filter><Expiration><Days>9</Days></Expiration>", Status.FAIL),
    ],
)
@proves("storage.lifecycle")
def test_what_a_rule_does_to_snapshots_is_understood(rule: str, status: Status) -> None:
    store = FakeStore()
    store.rules = "".join(f"<Rule><ID>r</ID><Status>Enabled</Status>{each}</Rule>" for each in (rule, ABORT))
    with fake_store(store) as lake:
        found = ask(Site(FAST, lake=lake), "storage.lifecycle")
    assert found.status is status, found


def test_a_store_whose_clock_is_behind_still_ends_a_presigned_put() -> None:
    with fake_store(FakeStore(skew=-2)) as lake:
        found = ask(Site(FAST, lake=lake), "storage.presigned_expiry")
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
