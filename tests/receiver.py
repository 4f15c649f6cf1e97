"""A receiver of callbacks on loopback: it keeps what it was sent and answers as it is told, badly if need be."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its target, its headers in lower case, its body."""

    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    port: int = 0
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has ended."""
    requests: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"


def answering(status: str, *headers: str, body: bytes = b"") -> Answer:
    """Answer every request with this status line."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    reply = "\r\n".join([*lines, "", ""]).encode() + body

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    return answer


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Never answer; return when the client is gone."""
    await reader.read()


async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close without an answer."""


def dripping(head: bytes, drop: bytes, pause: float = 0.0) -> Answer:
    """Send ``head`` and then ``drop`` for ever."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


@asynccontextmanager
async def receiver(
    answer: Answer, *, tls: ssl.SSLContext | None = None, reads_request: bool = True
) -> AsyncIterator[Receiver]:
    """Listen on a free loopback port; stop, and drop every connection, at the end."""
    state = Receiver()
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        state.connections += 1
        try:
            if reads_request:
                state.requests.append(await _read(reader))
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away: that is its right
        finally:
            state.left.set()
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(head[0].split(" ")[1], headers, body)
