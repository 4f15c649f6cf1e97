"""The checks of a receiver against real sockets, under the rules of every callback."""

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cli.doctor.callbacks import TYPE, latency_result
from cli.doctor.check import Group, Result, Status
from cli.doctor.site import Options, Outside, Site
from contracts.tenancy import DEFAULT_TENANT
from control.tenancy import webhook_secrets
from resources.callbacks.networks import Address
from resources.database import Database
from resources.settings import ControlSettings
from tests.certificates import Authority
from tests.doctor import ask, ask_group, proves
from tests.receiver import Receiver, answering, hang_up, receiver

NAME = "hooks.example.com"
PUBLIC = "93.184.215.14"
AUTHORITY = Authority()


class Names:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def __call__(self, _host: str, _port: int, /) -> Sequence[Address]:
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [ip_address(address) for address in self.addresses]


class Routed(httpcore.AsyncNetworkBackend):
    """Every address leads to one port on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reached: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *_rest: Any, **_named: Any) -> httpcore.AsyncNetworkStream:
        self.reached.append((host, port))
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


def site(url: SecretStr, callback: str, outside: Outside | None = None) -> Site:
    settings = ControlSettings(
        database_url=url, internal_secret=SecretStr("internal-secret-of-the-tests"), callback_allow=("127.0.0.0/8",)
    )
    return Site(Options(callback=callback), control=settings, outside=outside)


def asked(
    listening: AbstractAsyncContextManager[Receiver], question: Callable[[Receiver], dict[str, Result]]
) -> tuple[dict[str, Result], Receiver]:
    """Ask on a thread of its own while the receiver listens."""

    async def both() -> tuple[dict[str, Result], Receiver]:
        async with listening as there:
            return await asyncio.to_thread(question, there), there

    return asyncio.run(both())


def over_tls(
    url: SecretStr, folder: Path, *, name: str = NAME, authority: Authority = AUTHORITY, address: str = PUBLIC
) -> dict[str, Result]:
    """Return what the group finds of an https receiver with a certificate for ``name``."""

    def question(there: Receiver) -> dict[str, Result]:
        outside = Outside(Names(address), Routed(there.port), AUTHORITY.client_context())
        return ask_group(site(url, f"https://{NAME}/in", outside), Group.CALLBACKS)

    tls = authority.server_context(name, folder)
    return asked(receiver(answering("204 No Content"), tls=tls), question)[0]


def secret_of(url: SecretStr) -> str:
    async def read() -> str:
        db = Database(url)
        try:
            async with db.transaction() as conn:
                return (await webhook_secrets.newest_of(conn, DEFAULT_TENANT)).get_secret_value()
        finally:
            await db.close()

    return asyncio.run(read())


WARNED = {"callbacks.tls", "callbacks.forgery"}


@proves("callbacks.forgery")
def test_a_receiver_gets_one_callback_that_verifies_and_one_that_does_not(database_url: SecretStr) -> None:
    found, there = asked(
        receiver(answering("200 OK")), lambda there: ask_group(site(database_url, there.url), Group.CALLBACKS)
    )
    genuine, forged = there.requests
    assert [json.loads(each.body)["type"] for each in there.requests] == [TYPE, TYPE]
    Webhook(secret_of(database_url)).verify(genuine.body, genuine.headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret_of(database_url)).verify(forged.body, forged.headers)
    assert found["callbacks.tls"].status is Status.WARN  # http on loopback
    assert (found["callbacks.forgery"].status, "believes" in found["callbacks.forgery"].detail) == (Status.WARN, True)
    assert {result.status for name, result in found.items() if name not in WARNED} == {Status.PASS}, found


def forgery_at(url: SecretStr, refusal: str, genuine: str = "200 OK") -> Result:
    """Ask a receiver that verifies signatures and answers a wrong one with ``refusal``."""
    webhook, there = Webhook(secret_of(url)), Receiver()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = there.requests[-1]
        try:
            webhook.verify(request.body, request.headers)
        except WebhookVerificationError:
            await answering(refusal)(reader, writer)
        else:
            await answering(genuine)(reader, writer)

    async def both() -> Result:
        async with receiver(answer) as listening:
            there.requests = listening.requests
            return await asyncio.to_thread(ask, site(url, listening.url), "callbacks.forgery")

    return asyncio.run(both())


def test_a_receiver_that_verifies_passes(database_url: SecretStr) -> None:
    found = forgery_at(database_url, "401 Unauthorized")
    assert (found.status, found.detail) == (Status.PASS, "401 to a wrong signature, 200 to ours")


@pytest.mark.parametrize("refusal", ["500 Internal Server Error", "429 Too Many Requests", "302 Found"])
@proves("callbacks.forgery")
def test_what_is_no_clear_refusal_is_a_warning(database_url: SecretStr, refusal: str) -> None:
    found = forgery_at(database_url, refusal)
    assert (found.status, "no clear refusal" in found.detail) == (Status.WARN, True), found


@proves("callbacks.forgery")
def test_a_receiver_that_refuses_everything_proves_nothing(database_url: SecretStr) -> None:
    found = forgery_at(database_url, "401 Unauthorized", genuine="401 Unauthorized")
    assert (found.status, "not even the genuine" in found.detail) == (Status.FAIL, True), found


def test_a_certificate_that_ends_soon_is_a_warning(database_url: SecretStr, tmp_path: Path) -> None:
    found = over_tls(database_url, tmp_path)  # the tests' certificates live for a day
    assert (found["callbacks.tls"].status, "0 more days" in found["callbacks.tls"].detail) == (Status.WARN, True)
    assert {result.status for name, result in found.items() if name not in WARNED} == {Status.PASS}, found


@pytest.mark.parametrize("wrong", [{"name": "other.example.com"}, {"authority": Authority()}])
@proves("callbacks.tls", "callbacks.signature", "callbacks.forgery", "callbacks.latency")
def test_a_wrong_certificate_fails(database_url: SecretStr, tmp_path: Path, wrong: dict[str, Any]) -> None:
    found = over_tls(database_url, tmp_path, **wrong)
    statuses = {name: result.status for name, result in found.items()}
    assert statuses == {
        "callbacks.address": Status.PASS,
        "callbacks.tls": Status.FAIL,
        "callbacks.latency": Status.FAIL,
        "callbacks.signature": Status.FAIL,
        "callbacks.forgery": Status.FAIL,
    }
    assert "certificate" in found["callbacks.tls"].detail


@pytest.mark.parametrize(
    ("callback", "addresses", "words"),
    [
        ("http://hooks.example.com/in", (PUBLIC,), "must begin with https"),
        ("https://user:pass@hooks.example.com/in", (PUBLIC,), "user name"),
        ("https://169.254.169.254/latest", (), "metadata"),
        ("https://hooks.example.com/in", (), "does not resolve"),
        ("https://hooks.example.com/in", ("10.0.0.1",), "private"),
        ("https://hooks.example.com/in", (PUBLIC, "169.254.169.254"), "metadata"),
    ],
)
@proves("callbacks.address")
def test_an_address_that_must_not_be_reached_fails(
    database_url: SecretStr, callback: str, addresses: tuple[str, ...], words: str
) -> None:
    network = Routed(9)
    outside = Outside(Names(*addresses), network, ssl.create_default_context())
    found = ask_group(site(database_url, callback, outside), Group.CALLBACKS)
    assert {result.status for result in found.values()} == {Status.FAIL}, found
    assert words in found["callbacks.address"].detail
    assert network.reached == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [(answering("401 Unauthorized", body=b"bad signature"), "401 bad signature"), (hang_up, "protocol")],
)
@proves("callbacks.signature")
def test_a_receiver_that_does_not_take_it_fails(
    database_url: SecretStr,
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    words: str,
) -> None:
    found, _ = asked(receiver(answer), lambda there: {"": ask(site(database_url, there.url), "callbacks.signature")})
    assert (found[""].status, words in found[""].detail) == (Status.FAIL, True), found


def test_a_slow_receiver_is_a_warning() -> None:
    assert latency_result(4.9).status is Status.PASS
    assert latency_result(5.1).status is Status.WARN
