"""The sender against real sockets: what arrives, what becomes of each answer, and that it never takes long."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpcore
import pytest

from resources.callbacks.sender import GuardedSender, Outcome, SendError
from tests.contract.sending import HEADERS, LOOPBACK, Names, answered, post
from tests.receiver import Answer, answering, dripping, hang_up, receiver, silence

pytestmark = pytest.mark.anyio


async def test_the_very_bytes_arrive_with_our_headers() -> None:
    async with answered(answering("204 No Content")) as (state, outcome):
        (request,) = state.requests
        assert outcome == Outcome(status=204)
        assert request.body == b'{"a":1}'
        assert request.target == "/in"
        assert request.headers["host"] == f"127.0.0.1:{state.port}"
        assert request.headers["webhook-id"] == "one"
        assert request.headers["connection"] == "close"


async def test_no_connection_is_used_twice() -> None:
    async with receiver(answering("200 OK")) as state:
        sender = GuardedSender(LOOPBACK)
        for _ in range(3):
            assert (await sender.send(state.url, b"{}", HEADERS)).is_delivered
        assert state.connections == 3


async def test_a_redirect_is_an_answer_and_not_a_way() -> None:
    async with receiver(answering("200 OK")) as inside, receiver(answering("302 Found")) as other:
        async with answered(answering("307 Temporary Redirect", f"Location: {inside.url}")) as (_, outcome):
            assert (outcome.status, outcome.is_delivered) == (307, False)
        assert (inside.connections, other.connections) == (0, 0)


@pytest.mark.parametrize("status", ["400 Bad", "404 Not Found", "410 Gone", "500 Oops", "503 Busy"])
async def test_what_is_not_2xx_is_not_delivered(status: str) -> None:
    async with answered(answering(status)) as (_, outcome):
        assert (outcome.status, outcome.error, outcome.is_delivered) == (int(status[:3]), None, False)


@pytest.mark.parametrize(
    "answer",
    [
        answering("500 Oops", body=b"\x00" + b"x" * 5000),
        answering("500 Oops", body=b"\xff" * 5000),
        dripping(b"\x80" * 60_000 + b"\r\n\r\n", b""),
    ],
)
async def test_of_what_a_receiver_sends_one_kib_is_kept(answer: Answer) -> None:
    async with answered(answer) as (_, outcome):
        assert 1000 < len(outcome.detail.encode()) <= 1024
        assert "\x00" not in outcome.detail


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("soon", None),
        ("-5", None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2001 00:00:00", 0.0),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999", None),
        ("Mon, 01 Jan 2024 00:00:00 +9999", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("\u00b2", None),
        ("", None),
        ("9" * 50, None),
    ],
)
async def test_retry_after_is_read(header: str, seconds: float | None) -> None:
    async with answered(answering("429 Slow", f"Retry-After: {header}")) as (_, outcome):
        assert outcome.retry_after == (seconds if len(header) < 50 else 9_999_999_999.0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (silence, SendError.TIMEOUT),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"X", 0.01), SendError.TIMEOUT),
        (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), SendError.TIMEOUT),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"y" * 5000 + b"\r\n"), SendError.PROTOCOL),
        (dripping(b"", b"garbage " * 1000), SendError.PROTOCOL),
        (answering("101 Switching Protocols", "Upgrade: other", "Connection: upgrade"), SendError.PROTOCOL),
        (hang_up, SendError.PROTOCOL),
    ],
)
async def test_a_receiver_that_does_not_answer_ends_in_time(answer: Answer, error: SendError) -> None:
    began = time.monotonic()
    async with answered(answer, deadline_seconds=1.0) as (_, outcome):
        assert (outcome.status, outcome.error) == (None, error)
    assert time.monotonic() - began < 3


async def test_an_endless_body_changes_nothing_and_is_not_read() -> None:
    endless = b"Transfer-Encoding: chunked\r\n\r\n"
    began = time.monotonic()
    async with answered(dripping(b"HTTP/1.1 200 OK\r\n" + endless, b"400\r\n" + b"x" * 1024 + b"\r\n")) as (_, outcome):
        assert outcome == Outcome(status=200)
    async with answered(dripping(b"HTTP/1.1 500 No\r\n" + endless, b"400\r\n" + b"x" * 1024 + b"\r\n")) as (_, outcome):
        assert (outcome.status, outcome.detail) == (500, "x" * 1024)
    async with answered(dripping(b"HTTP/1.1 500 No\r\n" + endless, b"1\r\nx\r\n", 0.2)) as (_, outcome):
        assert outcome.status == 500
        assert 0 < len(outcome.detail) < 100
    assert time.monotonic() - began < 5


async def test_nobody_listening_and_no_such_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert (await post(f"http://127.0.0.1:{taken.getsockname()[1]}/")).error is SendError.CONNECT
    assert (await post("https://gone.example/", resolve=Names())).error is SendError.DNS


@contextmanager
def dropping(host: str, port: int) -> Iterator[None]:
    """Let ``host`` drop whoever wants to connect: a listener that accepts nobody, with its backlog full."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(10):
            client = held.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect((host, port))
            except TimeoutError:
                yield
                return
    raise AssertionError("the backlog is never full")


async def test_an_address_that_drops_packets_leaves_time_for_the_next() -> None:
    async with receiver(answering("200 OK")) as state:
        with dropping("127.0.0.2", state.port), dropping("127.0.0.3", state.port):
            names = Names("127.0.0.2", "127.0.0.3", "127.0.0.1")
            url = f"http://localhost:{state.port}/"
            assert await post(url, resolve=names, deadline_seconds=4) == Outcome(status=200)
            began = time.monotonic()
            nobody = await post(url, resolve=Names("127.0.0.2", "127.0.0.3"), deadline_seconds=2)
            assert nobody.error is SendError.TIMEOUT
            assert time.monotonic() - began < 3


async def test_a_network_with_less_patience_than_the_sender_is_a_timeout_too() -> None:
    class Impatient(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *_where: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
            raise httpcore.ConnectTimeout("no answer")

    outcome = await post("http://localhost:9/", resolve=Names("127.0.0.1"), connect=Impatient())
    assert (outcome.error, outcome.detail) == (SendError.TIMEOUT, "no answer")


async def test_the_system_resolver_answers() -> None:
    async with receiver(answering("200 OK")) as state:
        sender = GuardedSender(LOOPBACK)
        assert (await sender.send(f"http://localhost:{state.port}/", b"{}", HEADERS)).is_delivered
