"""The commit's PUT leaves this process as one write, over plain TCP and over TLS."""

import base64
import hashlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpcore
import pytest

from resources.lake.commit_put import expiry_of, put_in_one_write
from tests.certificates import Authority

BODY = b'{"commitInfo":{}}\n' * 5000
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndone"
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


class Wire(httpcore.NetworkBackend, httpcore.NetworkStream):
    """The network below: keeps what happened in ``steps``, answers with ``answer``, may fail to write."""

    def __init__(self, answer: bytes, broken: Exception | None = None) -> None:
        self.answer = answer
        self.broken = broken
        self.steps: list[tuple[str, Any]] = []

    def connect_tcp(self, *_: Any, socket_options: Any = None, **__: Any) -> httpcore.NetworkStream:
        self.steps.append(("connect", socket_options))
        return self

    def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        self.steps.append(("write", buffer))
        if self.broken:
            raise self.broken

    def read(self, max_bytes: int, *_: Any, **__: Any) -> bytes:
        self.steps.append(("read", None))
        given, self.answer = self.answer[:max_bytes], self.answer[max_bytes:]
        return given

    def close(self) -> None:
        self.steps.append(("close", None))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.steps]


def test_headers_and_body_are_one_write() -> None:
    wire = Wire(CREATED)
    answer = put_in_one_write("http://store:8333/lake/a%20b?X-Amz-Date=1", BODY, network=wire)
    assert (answer.status, answer.text) == (201, "done")
    assert wire.kinds[:3] == ["connect", "write", "read"]
    assert wire.kinds.count("write") == 1
    assert wire.kinds[-1] == "close"
    head, _, body = dict(wire.steps)["write"].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /lake/a%20b?X-Amz-Date=1 HTTP/1.1\r\n")
    checksum = base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest())
    for line in (b"Host: store:8333", b"If-None-Match: *", b"Content-MD5: " + checksum):
        assert line in head.split(b"\r\n")
    assert f"Content-Length: {len(BODY)}".encode() in head
    assert body == BODY


class Tap(httpcore.NetworkBackend, httpcore.NetworkStream):
    """The real network; keeps the size of every write."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def connect_tcp(self, *where: Any, **options: Any) -> httpcore.NetworkStream:
        self.stream = httpcore.SyncBackend().connect_tcp(*where, **options)
        return self

    def write(self, buffer: bytes, *timeout: Any, **_: Any) -> None:
        self.sizes.append(len(buffer))
        self.stream.write(buffer, *timeout)

    def read(self, max_bytes: int, *timeout: Any, **_: Any) -> bytes:
        return self.stream.read(max_bytes, *timeout)

    def close(self) -> None:
        self.stream.close()


@pytest.fixture
def tls_store(tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A store behind TLS that answers with the size of what it got; and a context that trusts it."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            said = str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            return

    authority = Authority()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = authority.server_context("localhost", tmp_path).wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}/k", authority.client_context()
    server.shutdown()
    server.server_close()
    thread.join()


def test_over_tls_all_records_of_a_request_are_one_write(tls_store: tuple[str, ssl.SSLContext]) -> None:
    url, trusting = tls_store
    tap = Tap()
    answer = put_in_one_write(url, BODY, network=tap, ssl_context=trusting)
    assert (answer.status, answer.text) == (200, str(len(BODY)))
    assert [size > len(BODY) for size in tap.sizes] == [False, True]  # the greeting, then everything


def test_a_stranger_behind_tls_gets_nothing(tls_store: tuple[str, ssl.SSLContext]) -> None:
    tap = Tap()
    with pytest.raises(ConnectionError, match=r"not trusted.*LAKEMILL_S3_CA_FILE"):
        put_in_one_write(tls_store[0], BODY, network=tap)
    assert sum(tap.sizes) < len(BODY)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_the_kernel_takes_all_of_it_and_gives_up_in_time() -> None:
    wire = Wire(CREATED)
    put_in_one_write("http://store/k", BODY, network=wire)
    options = {name: value for _, name, value in dict(wire.steps)["connect"]}
    assert options[socket.TCP_USER_TIMEOUT] == 10_000
    assert options[socket.SO_SNDBUF] > len(BODY)


def test_a_refusal_is_read_from_a_store_that_hung_up_early() -> None:
    answer = put_in_one_write("http://store/k", BODY, network=Wire(REFUSED, httpcore.WriteError()))
    assert (answer.status, answer.text) == (403, "no")


@pytest.mark.parametrize("answer", [b"", CREATED[:30], CREATED[:-1], b"not HTTP\r\n\r\n"])
def test_no_whole_answer_is_a_lost_connection(answer: bytes) -> None:
    wire = Wire(answer)
    with pytest.raises(ConnectionError):
        put_in_one_write("http://store/k", BODY, network=wire)
    assert wire.kinds[-1] == "close"


def test_a_write_that_takes_too_long_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionError, match="WriteTimeout"):
        put_in_one_write("http://store/k", BODY, network=Wire(CREATED, httpcore.WriteTimeout()))


def test_the_expiry_is_the_urls_own() -> None:
    url = "https://store/k?X-Amz-Date=20260131T235930Z&X-Amz-Expires=120&X-Amz-Signature=0"
    assert expiry_of(url) == datetime(2026, 2, 1, 0, 1, 30, tzinfo=UTC)
