"""The sender reaches what it may and nothing else: addresses, names, certificates, proxies."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import pytest
from structlog.testing import capture_logs

from resources.callbacks.sender import GuardedSender, Outcome, SendError
from tests.certificates import Authority
from tests.contract.sending import HEADERS, LOOPBACK, NO_TRUST, Names, answered
from tests.receiver import answering, receiver, silence
from tests.unit.hostile_urls import HOSTILE_URLS

pytestmark = pytest.mark.anyio
PUBLIC = "93.184.215.14"

_connects: list[Any] = []
# Every connect of this Python process, whoever makes it; hooks cannot be removed, so there is one for the module.
sys.addaudithook(lambda event, values: _connects.append(values[1]) if event == "socket.connect" else None)


@pytest.fixture
def connects() -> Iterator[list[Any]]:
    _connects.clear()
    yield _connects
    _connects.clear()


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
    with capture_logs() as logs:
        outcome = await GuardedSender(resolve=names).send("https://hooks.example/", b"{}", HEADERS)
    assert outcome.error is SendError.SSRF_BLOCKED
    assert not any(address in outcome.detail for address in addresses)  # the tenant reads it
    assert ip_address(logs[0]["address"]) in names.addresses  # the operator reads these
    assert logs[0]["kind"] in outcome.detail
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
