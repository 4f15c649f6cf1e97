"""TLS in front of a PostgreSQL that was built without it, as the wheel's is: on the wire it is PostgreSQL's own start.

A client sends SSLRequest, gets ``S``, and both go on in TLS; behind that the bytes are passed on unchanged. Who begins
without asking for TLS is hung up on.
"""

import asyncio
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

_SSL_REQUEST = struct.pack("!II", 8, 80877103)


class TlsFront:
    """Listens on a free port of the loopback address; ``greeted`` counts the clients that finished the handshake."""

    def __init__(self, context: ssl.SSLContext, host: str, port: int) -> None:
        self._context = context
        self._behind = host, port
        self.greeted = 0
        self.port = 0

    async def serve(self, is_ready: Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        async with server:
            await stop.wait()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # a client that does not trust us hangs up
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(8) != _SSL_REQUEST:
            return
        writer.write(b"S")
        await writer.start_tls(self._context)
        self.greeted += 1
        from_server, to_server = await asyncio.open_connection(*self._behind)
        try:
            await asyncio.gather(_pass_on(reader, to_server), _pass_on(from_server, writer))
        finally:
            to_server.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()
    target.close()


@contextmanager
def tls_front(context: ssl.SSLContext, address: str) -> Iterator[TlsFront]:
    """Serve in a thread of its own, in front of the server at ``user@host:port``."""
    host, _, port = address.rpartition("@")[2].partition(":")
    front, is_ready, loop = TlsFront(context, host, int(port)), Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = Thread(target=lambda: loop.run_until_complete(front.serve(is_ready, stop)))
    thread.start()
    is_ready.wait(10)
    try:
        yield front
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
