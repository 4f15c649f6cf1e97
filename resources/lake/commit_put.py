"""The PUT of a commit, as one write on a connection of its own.

The store judges a presigned URL when a request begins, not when it ends. A process that is stopped between the headers
and the body would therefore commit whenever it wakes up. So nothing is sent before everything is there, and the kernel
gives up what it cannot deliver in time (docs/decisions/0008-the-commit-and-its-permit.md).
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpcore

from contracts.reports import COMMIT_DELIVERY_SECONDS
from resources.lake.s3 import content_md5, distrust

_TIMEOUT = {"connect": 5.0, "write": float(COMMIT_DELIVERY_SECONDS), "read": 30.0}
_CONNECT_RETRIES = 2
_HEADERS_ROOM = 64 * 1024
_TLS_READ_BYTES = 64 * 1024
_Result = TypeVar("_Result")

_CODE, _EXPIRED = re.compile(r"<Code>(\w+)</Code>"), re.compile(r"<Message>[^<]*expired", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """What the store said: the status and the body as text."""

    status: int
    text: str

    @property
    def code(self) -> str:
        """S3's code of a refusal. Tell nothing else of it: the rest quotes what was signed, and with whose key."""
        found = _CODE.search(self.text)
        return found[1] if found else "without a code"

    @property
    def is_over(self) -> bool:
        """Whether the refusal means that the presigned time is over."""
        return self.code == "AccessDenied" and _EXPIRED.search(self.text) is not None


def put_in_one_write(
    url: str, body: bytes, *, network: httpcore.NetworkBackend | None = None, ssl_context: ssl.SSLContext | None = None
) -> PutAnswer:
    """Send ``body`` to ``url`` if nothing is there, once. Raises ConnectionError when no whole answer came.

    ``ssl_context`` says whom to trust, by default the authorities of certifi; ``network`` replaces the machine's own
    in tests.
    """
    target = httpcore.URL(url)
    # The body is made after the URL was signed, and of the checksums only this one need not be part of a signature.
    headers = [("If-None-Match", "*"), ("Content-MD5", content_md5(body)), ("Connection", "close")]
    try:
        with httpcore.HTTPConnection(
            target.origin,
            ssl_context=ssl_context,
            retries=_CONNECT_RETRIES,  # of connecting only: nothing was sent yet
            network_backend=_OneWriteNetwork(network or httpcore.SyncBackend()),
            socket_options=_socket_options(len(body)),
        ) as connection:
            answer = connection.request("PUT", target, headers=headers, content=body, extensions={"timeout": _TIMEOUT})
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError) as error:
        raise ConnectionError(distrust(error) or type(error).__name__) from None
    return PutAnswer(answer.status, answer.content.decode("utf-8", "replace"))


def expiry_of(signed_url: str) -> datetime:
    """Return when a URL signed by AWS's version 4 expires (UTC), by the clock that signed it."""
    query = parse_qs(urlsplit(signed_url).query)
    signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))


def _socket_options(size_bytes: int) -> list[tuple[int, int, int]]:
    # Room for the whole request, as far as the kernel allows: what is in its hands needs this process no longer.
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes + _HEADERS_ROOM)]
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, COMMIT_DELIVERY_SECONDS * 1000))
    return options


class _OneWriteNetwork(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        opened = self._inner.connect_tcp(host, port, timeout, local_address, socket_options=socket_options)
        return _OneWriteStream(opened)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _OneWriteStream(httpcore.NetworkStream):
    """Keeps what is written until the answer is asked for, then sends it whole."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._kept = b""
        self._write_timeout: float | None = None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._kept += buffer
        self._write_timeout = timeout

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._kept:
            whole, self._kept = self._kept, b""
            with suppress(httpcore.WriteError):  # a store that refuses early hangs up, but may have said why
                self._inner.write(whole, self._write_timeout)
        return self._inner.read(max_bytes, timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TlsStream(self, ssl_context, server_hostname, timeout)

    def close(self) -> None:
        self._inner.close()


class _TlsStream(httpcore.NetworkStream):
    """TLS above a one-write stream. A TLS socket would write each record of 16 KiB by itself."""

    def __init__(
        self, wire: _OneWriteStream, ssl_context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        self._wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = ssl_context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        try:
            self._run(self._tls.do_handshake, timeout)
        except ssl.SSLError:
            wire.close()
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        while buffer:
            buffer = buffer[self._run(partial(self._tls.write, buffer), timeout) :]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._run(partial(self._tls.read, max_bytes), timeout)
        except ssl.SSLZeroReturnError:
            return b""

    def close(self) -> None:
        self._wire.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else None

    def _run(self, step: Callable[[], _Result], timeout: float | None) -> _Result:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._wire.write(self._outgoing.read(), timeout)
                received = self._wire.read(_TLS_READ_BYTES, timeout)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                self._wire.write(self._outgoing.read(), timeout)
                return result
