"""The load generator against small servers: what it counts, and that it waits for nobody."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from bench.load import CONNECTIONS, Load, LoadResult, send

Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Yield the address of a server, on a thread of its own, that answers its n-th request by ``answer``."""
    loop, ready, port, count = asyncio.new_event_loop(), threading.Event(), [0], [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
                count[0] += 1
                await answer(writer, count[0])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{port[0]}/things"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def loaded(answer: Answer, count: int, rate: int = 200) -> LoadResult:
    with serving(answer) as url:
        return send(Load(url, {"X-One": "1"}, [{"n": n} for n in range(count)], rate, expected=202))


def _reply(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok".encode())


def test_what_is_not_the_expected_status_is_told_apart() -> None:
    async def one_in_five_is_busy(writer: asyncio.StreamWriter, number: int) -> None:
        _reply(writer, "503 Busy" if number % 5 == 0 else "202 Accepted")

    result = loaded(one_in_five_is_busy, 100)
    assert (len(result.latencies), dict(result.other)) == (80, {"503": 20})
    assert result.cpu_seconds < 2


def test_a_connection_that_is_lost_costs_its_request_and_no_other() -> None:
    async def hang_up_on_the_third(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 3:
            writer.close()
        else:
            _reply(writer, "202 Accepted")

    result = loaded(hang_up_on_the_third, 20)
    assert (len(result.latencies), dict(result.other)) == (19, {"connection_lost": 1})


def test_a_stalled_server_cannot_hide() -> None:
    """More requests than connections wait for it: their latency counts from the moment they were due."""

    async def stall(writer: asyncio.StreamWriter, _number: int) -> None:
        await asyncio.sleep(1)
        _reply(writer, "202 Accepted")

    result = loaded(stall, 2 * CONNECTIONS, rate=1000)
    assert len(result.latencies) == 2 * CONNECTIONS
    assert min(result.latencies) > 900
    assert max(result.latencies) > 1700
