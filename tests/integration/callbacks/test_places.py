"""The places of a courier: nobody waits for the slow, dead or hanging hosts of others."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from contracts.tenancy import DEFAULT_TENANT
from control.callbacks.breaker import FAILURES, FIRST_REST_SECONDS
from control.callbacks.deliveries import callbacks_of
from control.callbacks.schedule import TIME_LEFT
from control.callbacks.sending import Courier
from resources.callbacks.sender import GuardedSender, Outcome, SendError
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.callbacks.deliveries import Clock, Script, deliver_due, delivery, ended, made_older, steps
from tests.integration.worker_rows import add_tenant
from tests.receiver import answering, receiver, silence

pytestmark = pytest.mark.anyio


class Hanging(Script):
    """Answers 200, at the URLs that ``hangs`` picks not before ``hung`` is set; ``most`` were under way at once."""

    def __init__(self, hangs: Callable[[str], bool]) -> None:
        super().__init__(Outcome(status=200))
        self.hung = asyncio.Event()
        self.under_way = self.most = 0
        self._hangs = hangs

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self._hangs(url):
            await self.hung.wait()
        self.under_way -= 1
        return await super().send(url, body, headers)


async def test_a_slow_host_holds_only_its_own_places(db: Database, sender: GuardedSender) -> None:
    async with receiver(silence) as slow, receiver(answering("200 OK")) as quick:
        for _ in range(70):
            await ended(db, slow.url)
        arrived = [await ended(db, quick.url) for _ in range(5)]
        courier = Courier(db, sender, wait_seconds=0.05, capacity=40, per_host=8)
        began = time.monotonic()
        while len(quick.requests) < len(arrived):
            await courier.step()
            assert time.monotonic() - began < 2.5, "the quick receiver waited for the slow one"
        assert slow.connections <= 8
        await courier.finish()


async def test_many_are_under_way_at_once(db: Database, settings: ControlSettings) -> None:
    most = now = 0

    class Slow(Script):
        async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.2)
            now -= 1
            return await super().send(url, body, headers)

    for index in range(30):
        await ended(db, f"https://h{index}.example/")
    began = time.monotonic()
    assert await deliver_due(db, Slow(Outcome(status=200)), settings) == 30
    assert most >= 20
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("address", ["https://dead.example/{}", "https://DEAD.example?order={}"])
async def test_a_host_that_is_dead_is_left_alone_and_keeps_its_tries(db: Database, address: str) -> None:
    dead = [await ended(db, address.format(number)) for number in range(40)]
    sender = Script(Outcome(error=SendError.TIMEOUT))
    clock = Clock()
    courier = Courier(db, sender, wait_seconds=0.01, per_host=8, clock=clock)
    await steps(courier)
    assert FAILURES <= len(sender.sent) <= FAILURES + 2 * 8  # what was under way when it was noticed
    untouched = [each for each in dead if (await delivery(db, each))["tries"] == 0]
    assert len(untouched) == 40 - len(sender.sent)
    before = len(sender.sent)
    clock.now += FIRST_REST_SECONDS
    await steps(courier)
    assert len(sender.sent) == before + 1  # one try shows that nothing has changed
    sender.outcomes = [Outcome(status=200)]
    alive = await ended(db, "https://alive.example/")
    await steps(courier)
    assert (await delivery(db, alive))["state"] == "delivered"
    clock.now += 2 * FIRST_REST_SECONDS
    await steps(courier)
    assert {(await delivery(db, each))["state"] for each in untouched[1:]} == {"delivered"}


async def test_what_waits_for_a_dead_host_is_given_up_when_the_time_of_its_tries_is_over(db: Database) -> None:
    old = [await ended(db, f"https://dead.example/{number}") for number in range(600)]
    await made_older(db, TIME_LEFT[0] + timedelta(minutes=1))
    young = [await ended(db, f"https://dead.example/young/{number}") for number in range(10)]
    clock = Clock()
    courier = Courier(db, Script(Outcome(error=SendError.TLS, detail="expired")), wait_seconds=0.01, clock=clock)
    await steps(courier)
    assert {(await delivery(db, each))["state"] for each in young} == {"pending"}
    given_up = [await delivery(db, each) for each in old]
    tried_in_vain = [each for each in given_up if each["state"] == "pending"]
    assert 0 < len(tried_in_vain) <= FAILURES + 2 * 16  # those under way when the host's rest began: each goes on
    assert {each["last_error"] for each in given_up} == {"tls: expired"}
    (log,) = (await callbacks_of(db, DEFAULT_TENANT, old[-1])).callbacks
    assert (log.state, log.log[-1].error, log.log[-1].next_try_in_seconds) == ("exhausted", "tls", None)


async def test_one_tenant_with_many_hanging_hosts_leaves_places_to_the_others(db: Database) -> None:
    await add_tenant(db, "quiet")
    await ended(db, "https://quick.example/")
    for number in range(60):
        await ended(db, f"https://tarpit-{number}.example/")
    sender = Hanging(lambda url: "tarpit" in url)
    courier = Courier(db, sender, wait_seconds=0.01, capacity=20)
    for _ in range(5):  # the one that ends gives up its place only, not those of what hangs
        await courier.step()
    assert sender.most == 10
    alone = await ended(db, "https://quiet.example/", tenant_id="quiet")
    for _ in range(3):
        await courier.step()
    assert [url for url, _, _ in sender.sent] == ["https://quick.example/", "https://quiet.example/"]
    sender.hung.set()
    await courier.finish()
    assert (await delivery(db, alone))["state"] == "delivered"


async def test_what_is_under_way_counts_for_its_host(db: Database) -> None:
    for number in range(30):
        await ended(db, f"https://shared.example/{number}")
    sender = Hanging(lambda url: not url.endswith("0"))
    courier = Courier(db, sender, wait_seconds=0.01, per_host=8)
    for _ in range(8):
        await courier.step()
    assert sender.sent
    assert sender.most == 8
    sender.hung.set()
    await courier.finish()


async def test_one_tenants_hanging_address_keeps_nothing_from_another_at_the_same_host(db: Database) -> None:
    await add_tenant(db, "other")
    for number in range(60):
        await ended(db, f"https://hooks.example/a/{number}")
    other = await ended(db, "https://hooks.example/b", tenant_id="other")

    class Shared(Script):
        async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
            done = await super().send(url, body, headers)
            return Outcome(error=SendError.TIMEOUT) if "/a/" in url else done

    clock = Clock()
    sender = Shared(Outcome(status=200))
    courier = Courier(db, sender, wait_seconds=0.01, clock=clock)
    await courier.step()
    await courier.finish()
    assert "https://hooks.example/b" in [url for url, _, _ in sender.sent]  # in turn, although it was due last
    await steps(courier)
    assert (await delivery(db, other))["state"] == "delivered"
    tried = len(sender.sent)
    assert tried <= 1 + FAILURES + 2 * 16  # the answer to the other one does not end this one's rest
    for _ in range(3):
        clock.now += FIRST_REST_SECONDS / 4
        later = await ended(db, "https://hooks.example/b", tenant_id="other")
        await steps(courier)
        assert (await delivery(db, later))["state"] == "delivered"
    assert len(sender.sent) == tried + 3
