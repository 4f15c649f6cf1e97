"""A real S3 server behind an authority of its own: everything works with its certificate, and nothing without."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from resources.lake.probe import LakeProbe
from resources.lake.store import LakeUnavailableError, ObjectInfo, PutOutcome, S3Lake
from resources.settings import LakeSettings
from tests.certificates import Authority
from tests.s3_server import s3_server_behind_tls

UNTRUSTED = r"not trusted \(.*\): LAKEMILL_S3_CA_FILE must hold its authority"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeSettings]:
    with s3_server_behind_tls(tmp_path_factory.mktemp("tls")) as settings:
        yield settings


def changed(store: LakeSettings, **changes: object) -> LakeSettings:
    """Return ``store`` with ``changes``, checked as if they came from the environment."""
    return LakeSettings.model_validate(store.model_dump() | changes)


def test_with_the_authority_objects_and_commits_go_both_ways(store: LakeSettings) -> None:
    lake = S3Lake(store, "lake")
    lake.put("raw", b"0123456789")
    assert (lake.get("raw"), lake.tail("raw", 4)) == (b"0123456789", b"6789")
    commit = lake.presign_commit("commit", 60)
    assert [commit.send(b"mine"), commit.send(b"other")] == [PutOutcome.CREATED, PutOutcome.EXISTS]
    assert list(lake.list("")) == [ObjectInfo("commit", 4), ObjectInfo("raw", 10)]
    lake.delete(["raw"])
    assert LakeProbe(store, "lake").some_keys(9) == ["commit"]


@pytest.mark.parametrize("ca", ["the system's", "another"])
def test_without_it_nothing_is_sent_and_the_error_says_why(ca: str, store: LakeSettings, tmp_path: Path) -> None:
    settings = changed(store, s3_ca_file=Authority().write_ca(tmp_path) if ca == "another" else None)
    lake = S3Lake(settings, "lake")
    for ask in (
        lambda: lake.get("a"),
        lambda: lake.put("a", b"1"),
        lambda: list(lake.list("")),
        lambda: lake.presign_commit("a", 60).send(b"1"),
        lambda: LakeProbe(settings, "lake").some_keys(1),
    ):
        with pytest.raises(LakeUnavailableError, match=UNTRUSTED):
            ask()
    assert S3Lake(store, "lake").get("a") is None


def test_a_certificate_for_another_name_is_not_taken(store: LakeSettings) -> None:
    address = (store.s3_endpoint or "").replace("localhost", "127.0.0.1")
    lake = S3Lake(changed(store, s3_endpoint=address), "lake")
    with pytest.raises(LakeUnavailableError, match=r"hostname '127\.0\.0\.1' doesn't match 'localhost'"):
        lake.get("a")
    with pytest.raises(LakeUnavailableError, match=r"127\.0\.0\.1.*LAKEMILL_S3_ENDPOINT a name that it is made for"):
        lake.presign_commit("a", 60).send(b"1")


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["absent", "empty", "something else"])
def test_a_file_without_certificates_is_refused_by_its_name(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValidationError, match=rf"LAKEMILL_S3_CA_FILE \({re.escape(str(file))}\) is not a readable PEM"):
        LakeSettings(s3_ca_file=file)


def test_an_authority_that_would_not_be_used_is_refused(store: LakeSettings) -> None:
    with pytest.raises(ValidationError, match="LAKEMILL_S3_CA_FILE is set, but LAKEMILL_S3_ENDPOINT is http://store"):
        changed(store, s3_endpoint="http://store")
