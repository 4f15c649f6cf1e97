"""An open-loop load generator: requests leave on schedule whether or not earlier ones were answered.

Latency counts from the moment a request was due, so that a stalled server cannot hide behind a polite client. It runs
in a process of its own, on uvloop and httptools, and tells with its result what it used itself.
"""

import asyncio
import json
import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

CONNECTIONS = 64
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """One POST for each of ``bodies`` (JSON values), ``rate`` a second. ``expected`` is the status that counts."""

    url: str
    headers: Mapping[str, str]
    bodies: list[dict[str, Any]]
    rate: int
    expected: int


@dataclass
class LoadResult:
    """Latencies in milliseconds of the requests answered with ``expected``; everything else by what came instead."""

    latencies: list[float] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0
    """What the generator itself used."""


def send(load: Load) -> LoadResult:
    """Send everything from a process of its own; return when each request is answered or given up."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_send, load).result()


def _send(load: Load) -> LoadResult:
    began = time.process_time()  # the imports before were not for any request
    result = uvloop.run(_Generator(load).run())
    result.cpu_seconds = time.process_time() - began
    return result


class _Generator:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._result = LoadResult()
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._open = 0
        self._left = len(load.bodies)
        self._all_answered = asyncio.Event()

    async def run(self) -> LoadResult:
        load, loop = self._load, asyncio.get_running_loop()
        requests = [self._encode(body) for body in load.bodies]
        await asyncio.gather(*(self._connect() for _ in range(CONNECTIONS)))
        start = loop.time() + 0.1
        for number, request in enumerate(requests):
            due = start + number / load.rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.dispatch(request, due)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._all_answered.wait()
        except TimeoutError:
            self._result.other["no_answer"] += self._left
        return self._result

    def dispatch(self, request: bytes, due: float) -> None:
        """Send now, or as soon as a connection is free: the request waits, its clock does not."""
        if self._idle:
            self._idle.pop().send(request, due)
        elif self._open:
            self._waiting.append((request, due))
        else:
            self.ended("no_connection")

    def answered(self, connection: "_Connection", status: int, due: float) -> None:
        if status == self._load.expected:
            self._result.latencies.append((asyncio.get_running_loop().time() - due) * 1000)
            self.ended(None)
        else:
            self.ended(str(status))
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self.ended("connection_lost")

    def ended(self, otherwise: str | None) -> None:
        if otherwise is not None:
            self._result.other[otherwise] += 1
        self._left -= 1
        if self._left == 0:
            self._all_answered.set()

    async def _connect(self) -> None:
        place, loop = urlsplit(self._load.url), asyncio.get_running_loop()
        host, port = str(place.hostname), place.port or 80
        _, connection = await loop.create_connection(lambda: _Connection(self), host, port)
        self._idle.append(connection)
        self._open += 1

    def _encode(self, body: dict[str, Any]) -> bytes:
        place, content = urlsplit(self._load.url), json.dumps(body).encode()
        target = f"{place.path}?{place.query}" if place.query else place.path
        headers = {
            "Host": place.netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **self._load.headers,
        }
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + content


class _Connection(asyncio.Protocol):
    """One connection, kept open; one request at a time."""

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._parser = httptools.HttpResponseParser(self)
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._parser = httptools.HttpResponseParser(self)
        self._generator.answered(self, status, self._due)

    def connection_lost(self, _: Exception | None) -> None:
        self._generator.lost(self)
