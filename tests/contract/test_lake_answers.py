"""What a store may answer to a commit, from a stub that says it: known, unknown, or nobody's to repeat."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler

import pytest

from resources.lake.store import LakeAccessError, LakeUnavailableError, PutOutcome, S3Lake
from resources.settings import LakeSettings
from tests.s3_server import http_server, settings_for


class Script:
    """Statuses that a stub server answers with, one per request, the last one for ever."""

    def __init__(self, *statuses: int, body: bytes = b"") -> None:
        self.statuses = list(statuses)
        self.body = body
        self.requests: list[tuple[str, str | None]] = []


@pytest.fixture
def script() -> Script:
    return Script(200)


@pytest.fixture
def scripted(script: Script) -> Iterator[S3Lake]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            script.requests.append((self.path, self.headers["If-None-Match"]))
            self.send_response(script.statuses.pop(0) if len(script.statuses) > 1 else script.statuses[0])
            self.send_header("Content-Length", str(len(script.body)))
            self.end_headers()
            self.wfile.write(script.body)

        def log_message(self, *_: object) -> None:
            return

    with http_server(Handler) as address:
        yield S3Lake(settings_for(address), "lake")


def test_a_conflict_is_asked_again(script: Script, scripted: S3Lake) -> None:
    script.statuses = [409, 409, 200]
    assert scripted.presign_commit("k", 60).send(b"x") is PutOutcome.CREATED
    assert [condition for _, condition in script.requests] == ["*", "*", "*"]
    assert len({path for path, _ in script.requests}) == 1


def test_a_conflict_that_stays_is_unknown(script: Script, scripted: S3Lake) -> None:
    script.statuses = [409]
    with pytest.raises(LakeUnavailableError):
        scripted.presign_commit("k", 60).send(b"x")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_store_in_trouble_is_unknown(script: Script, scripted: S3Lake, status: int) -> None:
    script.statuses = [status]
    with pytest.raises(LakeUnavailableError):
        scripted.presign_commit("k", 60).send(b"x")
    assert len(script.requests) == 1


def test_other_refusals_are_access_errors(script: Script, scripted: S3Lake) -> None:
    script.statuses = [403]
    script.body = b"<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"
    with pytest.raises(LakeAccessError):
        scripted.presign_commit("k", 60).send(b"x")


def test_expiry_is_known_by_its_words(script: Script, scripted: S3Lake) -> None:
    script.statuses = [403]
    script.body = (
        b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    )
    assert scripted.presign_commit("k", 60).send(b"x") is PutOutcome.EXPIRED


def test_a_store_that_does_not_listen_is_unavailable() -> None:
    lake = S3Lake(settings_for("http://127.0.0.1:9"), "lake")
    with pytest.raises(LakeUnavailableError):
        lake.presign_commit("k", 60).send(b"x")


def test_without_a_key_it_is_our_mistake_and_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    nobody = S3Lake(LakeSettings(s3_endpoint="http://127.0.0.1:9", s3_access_key=None, s3_secret_key=None), "lake")
    asked: list[Callable[[], object]] = [
        partial(nobody.get, "key"),
        partial(nobody.put, "key", b""),
        lambda: list(nobody.list("")),
    ]
    for ask in asked:
        with pytest.raises(LakeAccessError, match="LAKEMILL_S3_ACCESS_KEY"):
            ask()
