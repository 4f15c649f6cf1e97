"""An S3 store in memory that does wrong what it is told to do wrong: for what no real store can be made to do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from resources.settings import LakeSettings
from tests.s3_server import http_server, settings_for

FAULTS = {
    "races": "a conditional PUT looks first and stores later",
    "overwrites": "If-None-Match is not honoured",
    "forgets expiry": "a presigned URL is good for ever",
    "cuts parts": "of a multipart upload only the first part is kept",
    "keeps uploads": "an abort is answered, and nothing happens",
    "corrupts": "what is stored is not what was sent",
    "refuses reads": "403 to every GET of an object",
    "keeps objects": "no right to delete",
}
_MISSING = b"<Error><Code>NoSuchKey</Code></Error>"


class FakeStore:
    """One bucket namespace. ``skew`` moves its clock."""

    def __init__(self, *faults: str, skew: float = 0.0, writers: int = 2) -> None:
        assert set(faults) <= set(FAULTS)
        self.faults = frozenset(faults)
        self.skew = timedelta(seconds=skew)
        self.rules = ""
        """The bucket's lifecycle rules in S3's XML; without any the store has no such thing."""
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()
        self.gate = threading.Barrier(writers)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.skew

    def wait(self, seconds: float) -> None:
        """Sleep, for who waits for this store only: its clock goes on, nobody else's."""
        self.skew += timedelta(seconds=seconds)

    def put(self, key: str, body: bytes, *, if_free: bool) -> int:
        if if_free and "races" in self.faults:
            is_taken = key in self.objects
            self.gate.wait(10)
            if is_taken:
                return 412
        with self.lock:
            if if_free and key in self.objects and not self.faults & {"races", "overwrites"}:
                return 412
            self.objects[key] = body[:-1] if "corrupts" in self.faults else body
        return 200


class _Handler(BaseHTTPRequestHandler):
    store: FakeStore
    protocol_version = "HTTP/1.1"

    def parse_path(self) -> tuple[str, dict[str, str]]:
        found = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(found.query, keep_blank_values=True).items()}
        return unquote(found.path).lstrip("/"), query

    def do_PUT(self) -> None:
        path, query = self.parse_path()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploadId" in query:
            self.store.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return self.answer(200, ETag='"part"')
        if _is_over(query, self.store.now) and "forgets expiry" not in self.store.faults:
            return self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
        return self.answer(self.store.put(path, body, if_free=self.headers.get("If-None-Match") == "*"), ETag='"whole"')

    def do_POST(self) -> None:
        path, query = self.parse_path()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "delete" in query:
            return self.answer(200, _xml("DeleteResult", self.deleted(path, body)))
        if "uploads" in query:
            upload = f"{path}-{len(self.store.uploads)}"
            self.store.uploads[upload] = {}
            return self.answer(200, _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>"))
        parts = self.store.uploads.pop(query["uploadId"])
        numbers = sorted(parts)[: 1 if "cuts parts" in self.store.faults else None]
        self.store.objects[path] = b"".join(parts[number] for number in numbers)
        return self.answer(200, _xml("CompleteMultipartUploadResult", '<ETag>"whole"</ETag>'))

    def deleted(self, bucket: str, body: bytes) -> str:
        """Remove the named objects; return what S3 says of those that stay."""
        keys = [key.text or "" for key in ElementTree.fromstring(body).findall(".//{*}Key")]  # noqa: S314 - our own client's
        if "keeps objects" in self.store.faults:
            return "".join(f"<Error><Key>{key}</Key><Code>AccessDenied</Code></Error>" for key in keys)
        for key in keys:
            self.store.objects.pop(f"{bucket.rstrip('/')}/{key}", None)
        return ""

    def do_DELETE(self) -> None:
        path, query = self.parse_path()
        if "uploadId" in query:
            if "keeps uploads" not in self.store.faults:
                self.store.uploads.pop(query["uploadId"])
            return self.answer(204)
        if "keeps objects" in self.store.faults:
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        self.store.objects.pop(path, None)
        return self.answer(204)

    def do_HEAD(self) -> None:
        path, _ = self.parse_path()
        self.answer(200, self.store.objects[path], is_head=True)

    def do_GET(self) -> None:
        path, query = self.parse_path()
        if "lifecycle" in query:
            if not self.store.rules:
                return self.answer(501, b"<Error><Code>NotImplemented</Code></Error>")
            return self.answer(200, _xml("LifecycleConfiguration", self.store.rules))
        if "uploads" in query:
            found = "".join(f"<Upload><Key>k</Key><UploadId>{name}</UploadId></Upload>" for name in self.store.uploads)
            return self.answer(200, _xml("ListMultipartUploadsResult", found))
        if "/" not in path:
            prefix = f"{path}/{query.get('prefix', '')}"
            keys = [key.partition("/")[2] for key in sorted(self.store.objects) if key.startswith(prefix)]
            found = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
            return self.answer(200, _xml("ListBucketResult", found))
        if "refuses reads" in self.store.faults:
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        return self.answer(200, self.store.objects[path]) if path in self.store.objects else self.answer(404, _MISSING)

    def answer(self, status: int, body: bytes = b"", *, is_head: bool = False, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not is_head:
            self.wfile.write(body)

    def date_time_string(self, *_: object) -> str:
        return format_datetime(self.store.now, usegmt=True)

    def log_message(self, *_: object) -> None:
        return


def _is_over(query: dict[str, str], now: datetime) -> bool:
    if "X-Amz-Date" not in query:
        return False
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return now > signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))


def _xml(name: str, content: str) -> bytes:
    return f"<{name}>{content}</{name}>".encode()


@contextmanager
def fake_store(store: FakeStore) -> Iterator[LakeSettings]:
    """Serve the store; yield the settings that lead to it."""
    with http_server(type("Handler", (_Handler,), {"store": store})) as endpoint:
        yield settings_for(endpoint)
