"""A SeaweedFS of the tests' own on free ports, and a proxy in front of it that can lose answers and change bodies."""

import http.client
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import urlsplit

import stamina
from pydantic import SecretStr

from deploy.local.ports import HOST, PortBlock, find_base_port
from resources.lake.admin import ensure_buckets
from resources.settings import LakeSettings
from tests.certificates import Authority

RESET, SILENT, CUT = 0, -1, -2
"""In the place of a status: the connection is reset, nothing is ever answered, or the body breaks off in its middle."""
ACCESS_KEY, SECRET_KEY = "lakemill-tests", "canary-s3-secret-of-the-tests"
_CODES = {400: "ExpiredToken", 403: "AccessDenied", 503: "SlowDown"}
_FLAGS = {
    "s3.port": "s3",
    "s3.port.grpc": "s3-grpc",
    "master.port": "s3-master",
    "master.port.grpc": "s3-master-grpc",
    "volume.port": "s3-volume",
    "volume.port.grpc": "s3-volume-grpc",
    "filer.port": "s3-filer",
    "filer.port.grpc": "s3-filer-grpc",
    "admin.port": "s3-admin",
    "admin.port.grpc": "s3-admin-grpc",
}
_OFF = ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]


class NotReadyError(Exception):
    """The server does not answer yet."""


@contextmanager
def s3_server(more_flags: Sequence[str] = ()) -> Iterator[LakeSettings]:
    """Yield the settings of a fresh store with the buckets ``lake`` and ``landing``, started with ``more_flags``."""
    ports = PortBlock(find_base_port())
    weed = str(Path(sys.executable).parent / "weed")
    folder = tempfile.mkdtemp(prefix="lakemill-s3-")
    flags = [f"-{flag}={ports.of(name)}" for flag, name in _FLAGS.items()]
    process = subprocess.Popen(
        [weed, "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}", *_OFF, *flags, *more_flags],
        env={**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        endpoint = f"http://{ports.address('s3')}"
        _wait_for_buckets(endpoint)
        yield settings_for(endpoint)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def settings_for(endpoint: str, secret: str = SECRET_KEY) -> LakeSettings:
    return LakeSettings(s3_endpoint=endpoint, s3_access_key=ACCESS_KEY, s3_secret_key=SecretStr(secret))


@stamina.retry(on=NotReadyError, attempts=None, timeout=60, wait_initial=0.1, wait_max=0.5)
def _wait_for_buckets(endpoint: str) -> None:
    if not ensure_buckets(endpoint, ACCESS_KEY, SECRET_KEY, ("lake", "landing")):
        raise NotReadyError(endpoint)


@dataclass(frozen=True)
class Seen:
    """One request that went through the proxy."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class LossyProxy:
    """Forwards every request and keeps it as it came.

    It loses the answers to the next ``lose`` requests that ``may_lose`` (method, path) chooses, usually PUTs, and
    changes the bodies of the next ``spoil`` PUTs. ``meets`` says what befalls a request (method, path) before it
    reaches the store: an error status, ``RESET``, ``SILENT``, or (None) nothing; or its answer: ``CUT``. ``delay``: how
    many seconds every request is held up.
    """

    def __init__(self, target: str) -> None:
        self.lose = 0
        self.may_lose: Callable[[str, str], bool] = lambda method, _path: method == "PUT"
        self.lost = 0
        self.spoil = 0
        self.delay = 0.0
        self.meets: Callable[[str, str], int | None] = lambda _method, _path: None
        self.seen: list[Seen] = []
        self._lock = Lock()
        self._target = urlsplit(target).netloc

    def loses_this(self, method: str, path: str) -> bool:
        with self._lock:
            if not self.lose or not self.may_lose(method, path):
                return False
            self.lose -= 1
            self.lost += 1
            return True

    def changed(self, body: bytes) -> bytes:
        """Return what the store gets in the place of a PUT's body."""
        with self._lock:
            if not self.spoil:
                return body
            self.spoil -= 1
            return bytes(byte ^ 1 for byte in body)

    def forward(self, request: BaseHTTPRequestHandler) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.seen.append(Seen(request.command, request.path, dict(request.headers.items()), body))
        # The Host header is signed: it stays the proxy's.
        connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(self.changed(body) if request.command == "PUT" else body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content


@contextmanager
def lossy_proxy(target: str, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, LossyProxy]]:
    """Yield the proxy's address and the proxy, which speaks HTTPS when it gets a context for ``localhost``."""
    proxy = LossyProxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # else nobody says "100 Continue", and Spark waits a second before each body

        def relay(self) -> None:
            self.close_connection = True
            time.sleep(proxy.delay)
            trouble = proxy.meets(self.command, self.path)
            if trouble is not None and trouble != CUT:
                self.fail(trouble)
                return
            answer, content = proxy.forward(self)
            if proxy.loses_this(self.command, self.path):
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            # A HEAD tells the length of what it does not send.
            length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if trouble == CUT else content)

        def fail(self, status: int) -> None:
            if status == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status == SILENT:
                self.rfile.read(1)  # until the client hangs up
                return
            body = f"<Error><Code>{_CODES.get(status, 'InternalError')}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = relay  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            return

    with http_server(Handler, tls) as address:
        yield address, proxy


@contextmanager
def s3_server_behind_tls(folder: Path) -> Iterator[LakeSettings]:
    """Yield the settings of a fresh store behind an authority of its own, whose certificate is in ``folder``."""
    authority = Authority()
    tls = authority.server_context("localhost", folder)
    with s3_server() as plain, lossy_proxy(plain.s3_endpoint or "", tls) as (address, _):
        changes = {"s3_endpoint": address, "s3_ca_file": authority.write_ca(folder)}
        yield LakeSettings.model_validate(plain.model_dump() | changes)


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve with ``handler`` on a free port; yield the address."""
    server = ThreadingHTTPServer((HOST, 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}" if tls else f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
