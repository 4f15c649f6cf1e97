"""One callback under the guarded sender's rules, watched from beneath: who was reached, how long it took, what came.

The sender itself tells a receiver's status and no more; what the doctor wants beside that passes through the resolver
and the network that the sender is given.
"""

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpcore

from resources.callbacks.networks import Address, Network
from resources.callbacks.resolver import Resolver, SystemResolver
from resources.callbacks.sender import GuardedSender, Outcome


@dataclass
class Sighting:
    """What was seen of one callback. Nothing that was not reached is set."""

    addresses: tuple[Address, ...] = ()
    certificate_until: datetime | None = None
    """When the receiver's certificate ends (UTC); it was found valid for the name."""
    tls_version: str | None = None
    seconds: float = 0.0
    outcome: Outcome = field(default_factory=Outcome)


class CallbackProbe:
    """Sends one callback and keeps what it saw. ``resolve``, ``network`` and ``ssl_context`` are for tests."""

    def __init__(
        self,
        allow: Sequence[Network],
        *,
        resolve: Resolver | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
        deadline_seconds: float = 15.0,
    ) -> None:
        self._resolve = resolve or SystemResolver()
        self._network = network or httpcore.AnyIOBackend()
        self._allow = allow
        self._ssl = ssl_context
        self._deadline = deadline_seconds

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sighting:
        """POST once. Never raises for what the address or the receiver does."""
        seen = Sighting()

        async def resolve(host: str, port: int, /) -> Sequence[Address]:
            found = await self._resolve(host, port)
            seen.addresses = tuple(found)
            return found

        sender = GuardedSender(
            self._allow,
            resolve=resolve,
            connect=_WatchedNetwork(self._network, seen),
            ssl_context=self._ssl,
            deadline_seconds=self._deadline,
        )
        began = time.monotonic()
        seen.outcome = await sender.send(url, body, headers)
        seen.seconds = time.monotonic() - began
        return seen


class _WatchedNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, inner: httpcore.AsyncNetworkBackend, seen: Sighting) -> None:
        self._inner = inner
        self._seen = seen

    async def connect_tcp(self, host: str, port: int, *rest: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return _WatchedStream(await self._inner.connect_tcp(host, port, *rest, **named), self._seen)


class _WatchedStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, seen: Sighting) -> None:
        self._inner = inner
        self._seen = seen

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's verb
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's verb
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's verb
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        tls = stream.get_extra_info("ssl_object")
        until = (tls.getpeercert() or {}).get("notAfter")
        self._seen.tls_version = tls.version()
        self._seen.certificate_until = until and datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
        return _WatchedStream(stream, self._seen)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
