"""One signed POST that reaches no address but the one it has judged.

The name is resolved once; every address it gave is judged; the connection goes to one of those very addresses, while
TLS checks the certificate against the name. No redirect is followed, no proxy is read from the environment, no
connection is used twice, and everything together takes at most ``DEADLINE_SECONDS``; only a look-up that the system
has begun cannot be broken off, and is waited for. An address that drops what it is sent leaves time for the next one.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import httpcore
import structlog

from resources.callbacks.addresses import CallbackForbiddenError, CallbackTarget, allowed_to_connect, check_callback_url
from resources.callbacks.networks import Network
from resources.callbacks.resolver import Resolver, SystemResolver
from resources.faults import crash_point

log = structlog.get_logger(__name__)

DEADLINE_SECONDS = 15.0
KEPT_BYTES = 1024
"""Of what is told about a try, as UTF-8: what a receiver sends is its choice, and is kept and shown."""
_BODY_SECONDS = 2.0
_LEAST_CONNECT_SECONDS, _MOST_CONNECT_SECONDS = 1.0, 5.0
"""Of one address while others remain: however many they are, each has time for a round trip."""


class SendError(StrEnum):
    """Why no answer came."""

    SSRF_BLOCKED = "ssrf_blocked"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    """The peer broke off or does not speak HTTP/1.1."""
    SIGNING = "signing"
    """Nothing was sent: the tenant's secret cannot sign."""
    NEVER_ENDED = "never_ended"
    """A try was begun and its worker never told how it ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one POST: a status, or an error. Never both."""

    status: int | None = None
    error: SendError | None = None
    detail: str = ""
    """Of a status outside 2xx: the answer's beginning. Of an error: a sentence. Cut to ``KEPT_BYTES``, without NUL."""
    retry_after: float | None = None
    """Seconds the receiver asked us to wait."""

    def __post_init__(self) -> None:
        storable = self.detail.replace("\x00", "\ufffd").encode("utf-8", "replace")
        object.__setattr__(self, "detail", storable[:KEPT_BYTES].decode("utf-8", "ignore"))

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


_FAILURES = (
    CallbackForbiddenError,
    TimeoutError,
    OSError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
)


class GuardedSender:
    """Sends callbacks. ``allow`` are the networks that may be reached although they are not public."""

    def __init__(
        self,
        allow: Sequence[Network] = (),
        *,
        resolve: Resolver | None = None,
        connect: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._allow = tuple(allow)
        self._resolve = resolve or SystemResolver()
        self._connect = connect or httpcore.AnyIOBackend()
        self._ssl = ssl_context or ssl.create_default_context()
        self._deadline = deadline_seconds

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST ``body`` once. Never raises for what the address or the receiver does."""
        try:
            target = check_callback_url(url, self._allow)
            network = _JudgedNetwork(target, self._allow, self._resolve, self._connect, self._deadline)
            try:
                async with asyncio.timeout(self._deadline):
                    return await self._post(target, network, body, headers)
            finally:
                await network.close()
        except _FAILURES as error:
            return Outcome(error=_kind(error), detail=str(error) or f"no answer within {self._deadline:g} s")

    async def _post(
        self, target: CallbackTarget, network: "_JudgedNetwork", body: bytes, headers: Mapping[str, str]
    ) -> Outcome:
        port = target.port
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), port)
        # A connection, not a pool: used for this one request and closed, so nothing is carried from one to another.
        async with httpcore.AsyncHTTPConnection(origin, ssl_context=self._ssl, network_backend=network) as connection:
            url = httpcore.URL(scheme=target.scheme, host=target.host, port=port, target=target.target)
            ours = {"Host": target.host_header, "Connection": "close", "Accept-Encoding": "identity"}
            sent = [*headers.items(), *ours.items()]
            async with connection.stream("POST", url, headers=sent, content=body, extensions={"trace": _trace}) as got:
                if 200 <= got.status < 300:
                    return Outcome(status=got.status)
                text = await _first_kib(got)
                return Outcome(status=got.status, detail=text, retry_after=_retry_after(got.headers))


class _JudgedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves and judges, then connects; remembers what it opened so that a cancelled handshake leaves nothing."""

    def __init__(
        self,
        target: CallbackTarget,
        allow: Sequence[Network],
        resolve: Resolver,
        connect: httpcore.AsyncNetworkBackend,
        deadline_seconds: float,
    ) -> None:
        self._target = target
        self._allow = allow
        self._resolve = resolve
        self._inner = connect
        self._until = time.monotonic() + deadline_seconds
        self._opened: list[httpcore.AsyncNetworkStream] = []

    async def connect_tcp(
        self, host: str, port: int, *options: Any, **named_options: Any
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        for address in addresses:
            # One bad address spoils them all: a mixed answer is how rebinding begins.
            kind = allowed_to_connect(address, self._target, self._allow)
            if kind is not None:
                # The address is the operator's to know: told to a tenant, it would map the network inside.
                log.warning("callback.forbidden", host=host, address=str(address), kind=kind)
                raise CallbackForbiddenError(f"the host leads to an address that is {kind}")
        failure: Exception = OSError(f"{host} has no address")
        for remaining, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # The last one may take what is left; one that drops packets before it may not.
            bound = {} if remaining == 1 else {"timeout": self._share(remaining)}
            try:
                stream = await self._inner.connect_tcp(str(address), port, *options, **{**named_options, **bound})
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            self._opened.append(stream)
            return stream
        raise failure

    def _share(self, remaining: int) -> float:
        left = self._until - time.monotonic()
        return min(_MOST_CONNECT_SECONDS, max(_LEAST_CONNECT_SECONDS, left / remaining))

    async def close(self) -> None:
        for stream in self._opened:
            await stream.aclose()


async def _trace(event: str, _info: Mapping[str, Any]) -> None:
    if event == "http11.send_request_body.complete":
        crash_point("C2")


async def _first_kib(response: httpcore.Response) -> str:
    kept = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in response.aiter_stream():
                kept += chunk[: KEPT_BYTES - len(kept)]
                if len(kept) >= KEPT_BYTES:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        pass  # the status is what counts; a body that dribbles or breaks off changes nothing
    return kept.decode("utf-8", "replace")


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    values = [value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"]
    if not values:
        return None
    text = values[0]
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the second for a zone beyond what a date can hold
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _kind(error: Exception) -> SendError:
    if isinstance(error, CallbackForbiddenError):
        return SendError.SSRF_BLOCKED
    if isinstance(error, TimeoutError | httpcore.TimeoutException):
        return SendError.TIMEOUT
    if isinstance(error, socket.gaierror):
        return SendError.DNS
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return SendError.TLS
    return SendError.CONNECT if isinstance(error, httpcore.ConnectError | OSError) else SendError.PROTOCOL
