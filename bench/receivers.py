"""Receivers of callbacks in a process of their own: many that answer at once, and one that never does."""

import asyncio
import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import cast

import httptools
import uvloop

from contracts.callbacks import Callback
from deploy.local.ports import HOST

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrived:
    """One callback: its webhook-id, when its process ended, and when it arrived, in seconds since 1970."""

    webhook_id: str
    ended_at: float
    at: float


class Receivers:
    """Where they listen, and what they got."""

    def __init__(self, urls: list[str], silent_url: str, pipe: Connection) -> None:
        self.urls = urls
        self.silent_url = silent_url
        self._pipe = pipe

    def arrived(self) -> list[Arrived]:
        """Return everything that came up to now, in order."""
        self._pipe.send("arrived")
        return cast("list[Arrived]", self._pipe.recv())


@contextmanager
def receivers(count: int) -> Iterator[Receivers]:
    """Run ``count`` receivers, and a host that takes connections and says nothing, for the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(count, theirs), daemon=True)
    process.start()
    with ExitStack() as stack:
        stack.callback(process.join, 10)
        stack.callback(process.kill)  # SIGTERM may be ignored: that is inherited
        # The kernel completes each handshake; nobody ever accepts.
        silent = stack.enter_context(socket.create_server((HOST, 0), backlog=4096))
        ports = cast("list[int]", ours.recv())
        yield Receivers([_url(port) for port in ports], _url(silent.getsockname()[1]), ours)


def _url(port: int) -> str:
    return f"http://{HOST}:{port}/callbacks"


def _serve(count: int, pipe: Connection) -> None:
    uvloop.run(_listen(count, pipe))


async def _listen(count: int, pipe: Connection) -> None:
    loop, arrived = asyncio.get_running_loop(), list[Arrived]()

    def tell() -> None:
        pipe.recv()
        os.set_blocking(pipe.fileno(), True)  # the loop had it otherwise, and what arrived is more than a pipe holds
        pipe.send(arrived)
        os.set_blocking(pipe.fileno(), False)

    servers = [await loop.create_server(lambda: _Receiver(arrived), HOST, 0) for _ in range(count)]
    pipe.send([server.sockets[0].getsockname()[1] for server in servers])
    loop.add_reader(pipe.fileno(), tell)
    await asyncio.Event().wait()


class _Receiver(asyncio.Protocol):
    """One request on one connection."""

    def __init__(self, arrived: list[Arrived]) -> None:
        self._arrived = arrived
        self._parser = httptools.HttpRequestParser(self)
        self._body, self._webhook_id = b"", ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._webhook_id = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        now = datetime.now(UTC).timestamp()
        self._transport.write(_ANSWER)
        self._transport.close()
        ended_at = Callback.model_validate_json(self._body).data.finished_at
        self._arrived.append(Arrived(self._webhook_id, ended_at.timestamp(), now))
