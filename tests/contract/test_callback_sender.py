"""The sender against real sockets: it reaches what it may, nothing else, and never takes long."""

import asyncio
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import pytest

from resources.callback_sender import GuardedSender, Outcome, SendError
from resources.networks import Address, parse_networks
from tests.certificates import Authority
from tests.receiver import Answer, Receiver, answering, dripping, hang_up, receiver, silence
from tests.unit.hostile_urls import HOSTILE_URLS

pytestmark = pytest.mark.anyio
LOOPBACK = parse_networks(("127.0.0.0/8", "::1/128"))
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the real authorities takes 40 ms
PUBLIC = "93.184.215.14"
HEADERS = {"Content-Type": "application/json", "webhook-id": "one"}

_connects: list[Any] = []
# Every connect of this Python process, whoever makes it; hooks cannot be removed, so there is one for the module.
sys.addaudithook(lambda event, values: _connects.append(values[1]) if event == "socket.connect" else None)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def connects() -> Iterator[list[Any]]:
    _connects.clear()
    yield _connects
    _connects.clear()


class Names:
    """A resolver that knows what it is told, and counts how often it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = [ip_address(address) for address in addresses]
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[Address]:
        self.asked.append(host)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.addresses


class Routed(httpcore.AsyncNetworkBackend):
    """The internet in one port: every address leads to a receiver on loopback, except those that refuse."""

    def __init__(self, port: int, refusing: Sequence[str] = ()) -> None:
        self.port = port
        self.refusing = refusing
        self.reached: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *_rest: Any, **_named: Any) -> httpcore.AsyncNetworkStream:
        self.reached.append((host, port))
        if host in self.refusing:
            raise httpcore.ConnectError("refused")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


async def post(url: str, **options: Any) -> Outcome:
    return await GuardedSender(LOOPBACK, **{"ssl_context": NO_TRUST, **options}).send(url, b'{"a":1}', HEADERS)


@asynccontextmanager
async def answered(answer: Answer, **options: Any) -> AsyncIterator[tuple[Receiver, Outcome]]:
    async with receiver(answer) as state:
        yield state, await post(state.url, **options)


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


async def test_of_a_refusal_one_kib_is_kept() -> None:
    async with answered(answering("500 Oops", body=b"\x00\xff" + b"x" * 5000)) as (_, outcome):
        assert len(outcome.detail) == 1024
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


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_a_hostile_url_is_never_connected_to(url: str, connects: list[Any]) -> None:
    outcome = await GuardedSender(resolve=Names("127.0.0.1"), ssl_context=NO_TRUST).send(url, b"{}", HEADERS)
    assert outcome.error is SendError.SSRF_BLOCKED
    assert connects == []


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("169.254.169.254",),
        ("::ffff:169.254.169.254",),
        ("64:ff9b::a9fe:a9fe",),
        ("fd00:ec2::254",),
        ("10.0.0.1",),
        (PUBLIC, "10.0.0.1"),
        (PUBLIC, "2606:4700::1111", "::1"),
        ("0.0.0.1",),
    ],
)
async def test_a_name_that_leads_inside_is_never_connected_to(addresses: tuple[str, ...], connects: list[Any]) -> None:
    names = Names(*addresses)
    outcome = await GuardedSender(resolve=names).send("https://hooks.example/", b"{}", HEADERS)
    assert outcome.error is SendError.SSRF_BLOCKED
    assert names.asked == ["hooks.example"]
    assert connects == []


async def test_http_is_for_allow_listed_addresses_only(connects: list[Any]) -> None:
    sender = GuardedSender(LOOPBACK, resolve=Names("127.0.0.1", "10.0.0.1"))
    outcome = await sender.send("http://localhost:9/", b"{}", HEADERS)
    assert outcome.error is SendError.SSRF_BLOCKED
    public = GuardedSender(LOOPBACK, resolve=Names(PUBLIC))
    assert (await public.send("http://localhost:9/", b"{}", HEADERS)).error is SendError.SSRF_BLOCKED
    assert connects == []


async def test_the_judged_address_is_the_one_reached(tmp_path: Path) -> None:
    authority = Authority()
    tls = authority.server_context("hooks.example", tmp_path)
    names = Names("2606:4700::1111", PUBLIC)
    async with receiver(answering("200 OK"), tls=tls) as state:
        network = Routed(state.port, refusing=["2606:4700::1111"])
        sender = GuardedSender(resolve=names, connect=network, ssl_context=authority.client_context())
        assert await sender.send("https://hooks.example./in?x=1", b"{}", HEADERS) == Outcome(status=200)
        assert network.reached == [("2606:4700::1111", 443), (PUBLIC, 443)]
        assert names.asked == ["hooks.example"]
        assert state.requests[0].headers["host"] == "hooks.example"
        assert state.requests[0].target == "/in?x=1"


async def test_a_certificate_for_another_name_or_from_nobody_is_refused(tmp_path: Path) -> None:
    authority = Authority()
    tls = authority.server_context("other.example", tmp_path)
    async with receiver(answering("200 OK"), tls=tls) as state:
        for trusted in (authority.client_context(), Authority().client_context()):
            sender = GuardedSender(resolve=Names(PUBLIC), connect=Routed(state.port), ssl_context=trusted)
            assert (await sender.send("https://hooks.example/", b"{}", HEADERS)).error is SendError.TLS
        assert state.requests == []


async def test_a_handshake_that_hangs_is_cut_off_and_leaves_nothing() -> None:
    async with receiver(silence, reads_request=False) as state:
        sender = GuardedSender(resolve=Names(PUBLIC), connect=Routed(state.port), deadline_seconds=0.3)
        assert (await sender.send("https://hooks.example/", b"{}", HEADERS)).error is SendError.TIMEOUT
        async with asyncio.timeout(2):
            await state.left.wait()


async def test_a_plain_answer_on_a_tls_port_is_a_tls_error() -> None:
    async with receiver(answering("200 OK"), reads_request=False) as state:
        sender = GuardedSender(resolve=Names(PUBLIC), connect=Routed(state.port), deadline_seconds=2)
        assert (await sender.send("https://hooks.example/", b"{}", HEADERS)).error is SendError.TLS


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(answering("200 OK")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with answered(answering("200 OK")) as (state, outcome):
            assert outcome.is_delivered
            assert (state.connections, proxy.connections) == (1, 0)


async def test_the_system_resolver_answers() -> None:
    async with receiver(answering("200 OK")) as state:
        sender = GuardedSender(LOOPBACK)
        assert (await sender.send(f"http://localhost:{state.port}/", b"{}", HEADERS)).is_delivered
