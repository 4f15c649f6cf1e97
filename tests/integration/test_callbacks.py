"""Callbacks on a real PostgreSQL with real receivers: at least once, under one id, and nobody waits for others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import RowMapping, func, select, update
from standardwebhooks.webhooks import Webhook

from contracts.callbacks import Callback, webhook_id
from contracts.reasons import Reason, ReasonCode
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from control.callback_schedule import MAX_TRIES
from control.callbacks import Courier, deliver_due
from control.tables import deliveries
from control.transitions import move
from resources.callback_sender import GuardedSender, Outcome
from resources.database import Database, DatabaseUnavailableError
from resources.networks import parse_networks
from resources.settings import ControlSettings
from tests.integration.worker_rows import SECRET, add_process, add_tenant, events, kinds
from tests.receiver import Answer, Receiver, answering, receiver, silence

pytestmark = pytest.mark.anyio
LOOPBACK = parse_networks(("127.0.0.0/8",))
REASON = Reason(code=ReasonCode.CHECK_FAILED, message="not_null(month): 3 rows").model_dump(mode="json")


@pytest.fixture
def sender() -> GuardedSender:
    return GuardedSender(LOOPBACK, deadline_seconds=3)


class Script:
    """A sender that answers as told and keeps what it was given."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[tuple[str, bytes, dict[str, str]]] = []

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        self.sent.append((url, body, headers))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def ended(db: Database, url: str, **columns: Any) -> UUID:
    """Make a process that has failed, with its delivery due now."""
    await add_tenant(db, columns.get("tenant_id", DEFAULT_TENANT))
    process_id = await add_process(db, callback_url=url, **columns)
    async with db.transaction() as conn:
        await move(conn, process_id, State.FAILED, actor="test", columns={"reason": REASON})
    return process_id


async def delivery(db: Database, process_id: UUID) -> RowMapping:
    async with db.transaction() as conn:
        query = select(deliveries, func.now().label("now")).where(deliveries.c.process_id == process_id)
        return (await conn.execute(query)).mappings().one()


async def make_due(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute(update(deliveries).values(next_try_at=func.now()))


@asynccontextmanager
async def failed_process(db: Database, answer: Answer) -> AsyncIterator[tuple[Receiver, UUID]]:
    async with receiver(answer) as state:
        yield state, await ended(db, state.url)


async def test_a_terminal_process_is_told_once_signed_and_noted(
    db: Database, sender: GuardedSender, settings: ControlSettings
) -> None:
    async with failed_process(db, answering("200 OK")) as (state, process_id):
        assert await deliver_due(db, sender, settings) == 1
        assert await deliver_due(db, sender, settings) == 0
        (request,) = state.requests
    body = Webhook(SECRET).verify(request.body, request.headers)
    told = Callback.model_validate_json(request.body)
    assert body["type"] == told.type == "process.failed"
    assert (told.data.process_id, told.data.reason) == (process_id, Reason.model_validate(REASON))
    row = await delivery(db, process_id)
    assert request.headers["webhook-id"] == str(row["id"]) == str(webhook_id(process_id, State.FAILED, state.url))
    assert (row["state"], row["tries"], row["last_status"], row["last_error"]) == ("delivered", 1, 200, None)
    assert row["delivered_at"] is not None
    assert (await kinds(db, process_id))[-2:] == ["failed", "callback_delivered"]


async def test_every_try_has_the_same_id_and_body_and_its_own_signature(
    db: Database, settings: ControlSettings
) -> None:
    process_id = await ended(db, "https://hooks.example/")
    script = Script(Outcome(status=500, detail="no\ufffd"), Outcome(status=200))
    assert await deliver_due(db, script, settings) == 1
    row = await delivery(db, process_id)
    assert (row["state"], row["last_status"], row["last_error"]) == ("pending", 500, "no\ufffd")
    assert timedelta(seconds=4) < row["next_try_at"] - row["now"] < timedelta(seconds=6)
    assert await deliver_due(db, script, settings) == 0
    await make_due(db)
    assert await deliver_due(db, script, settings) == 1
    (_, first, one), (_, second, two) = script.sent
    assert (first, one["webhook-id"]) == (second, two["webhook-id"])
    for headers in (one, two):
        Webhook(SECRET).verify(first, headers)
    assert (await kinds(db, process_id))[-2:] == ["callback_failed", "callback_delivered"]


async def test_after_ten_tries_it_is_visibly_exhausted(db: Database, settings: ControlSettings) -> None:
    process_id = await ended(db, "https://hooks.example/")
    script = Script(Outcome(status=503, retry_after=100_000.0, detail="busy"))
    waits: list[timedelta] = []
    for _ in range(MAX_TRIES):
        await deliver_due(db, script, settings)
        row = await delivery(db, process_id)
        waits.append(row["next_try_at"] - row["now"])
        await make_due(db)
    assert await deliver_due(db, script, settings) == 0
    assert len(script.sent) == MAX_TRIES
    assert (row["state"], row["tries"], row["last_error"]) == ("exhausted", MAX_TRIES, "busy")
    assert all(timedelta(hours=23, minutes=59) < wait < timedelta(hours=26.5) for wait in waits[:-1])
    *_, last = await events(db, process_id)
    assert (last["kind"], last["detail"]["status"]) == ("callback_exhausted", 503)


async def test_410_is_the_end(db: Database, settings: ControlSettings) -> None:
    process_id = await ended(db, "https://hooks.example/")
    await deliver_due(db, Script(Outcome(status=410)), settings)
    assert (await delivery(db, process_id))["state"] == "exhausted"


async def test_a_receiver_inside_is_never_reached(db: Database, settings: ControlSettings) -> None:
    async with failed_process(db, answering("200 OK")) as (state, process_id):
        assert await deliver_due(db, GuardedSender(), settings) == 1
        assert state.connections == 0
    row = await delivery(db, process_id)
    assert row["state"] == "pending"
    assert row["last_error"].startswith("ssrf_blocked: ")


async def test_a_worker_that_dies_while_sending_costs_a_repetition(db: Database, settings: ControlSettings) -> None:
    process_id = await ended(db, "https://hooks.example/")
    with pytest.raises(ConnectionAbortedError):
        await deliver_due(db, Script(ConnectionAbortedError("killed")), settings)
    row = await delivery(db, process_id)
    assert (row["state"], row["tries"]) == ("pending", 1)
    assert timedelta(seconds=50) < row["next_try_at"] - row["now"] <= timedelta(seconds=60)
    await make_due(db)
    script = Script(Outcome(status=200))
    await deliver_due(db, script, settings)
    assert script.sent[0][2]["webhook-id"] == str(row["id"])
    assert (await delivery(db, process_id))["state"] == "delivered"


async def test_a_delivery_that_ends_every_worker_is_exhausted(db: Database, settings: ControlSettings) -> None:
    process_id = await ended(db, "https://hooks.example/")
    deadly = Script(ConnectionAbortedError("killed"))
    for _ in range(MAX_TRIES):
        with pytest.raises(ConnectionAbortedError):
            await deliver_due(db, deadly, settings)
        await make_due(db)
    assert await deliver_due(db, deadly, settings) == 0
    assert len(deadly.sent) == MAX_TRIES
    row = await delivery(db, process_id)
    assert row["state"] == "exhausted"
    assert row["last_error"].startswith("never_ended: ")
    assert (await kinds(db, process_id))[-1] == "callback_exhausted"


async def test_a_2xx_that_could_not_be_marked_is_sent_again(
    db: Database, database_url: SecretStr, settings: ControlSettings
) -> None:
    process_id = await ended(db, "https://hooks.example/")
    impatient = Database(database_url, statement_seconds=1)
    async with AsyncExitStack() as held:

        class Blocking(Script):
            async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
                conn = await held.enter_async_context(db.transaction())
                await conn.execute(select(deliveries.c.id).with_for_update())
                return await super().send(url, body, headers)

        with pytest.raises(DatabaseUnavailableError):
            await deliver_due(impatient, Blocking(Outcome(status=200)), settings)
    await impatient.close()
    assert (await delivery(db, process_id))["state"] == "pending"
    await make_due(db)
    await deliver_due(db, Script(Outcome(status=200)), settings)
    assert (await delivery(db, process_id))["state"] == "delivered"


async def test_two_workers_do_not_send_the_same_delivery(db: Database, settings: ControlSettings) -> None:
    for _ in range(60):
        await ended(db, "https://hooks.example/")
    script = Script(Outcome(status=200))
    tries = await asyncio.gather(*(deliver_due(db, script, settings) for _ in range(3)))
    assert sum(tries) == len(script.sent) == 60
    assert len({headers["webhook-id"] for _, _, headers in script.sent}) == 60


async def test_a_late_answer_does_not_undo_what_another_worker_learned(db: Database) -> None:
    process_id = await ended(db, "https://hooks.example/")
    release = asyncio.Event()

    class Late(Script):
        async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
            await release.wait()
            return await super().send(url, body, headers)

    late = Courier(db, Late(Outcome(status=500)), wait_seconds=0.01)
    assert await late.step() == 1
    await make_due(db)
    other = Courier(db, Script(Outcome(status=503)), wait_seconds=0.01)
    assert await other.step() == 1
    await other.finish()
    before = await delivery(db, process_id)
    release.set()
    await late.finish()
    after = await delivery(db, process_id)
    assert (after["last_status"], after["tries"], after["next_try_at"]) == (503, 2, before["next_try_at"])


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
        assert slow.connections <= 2 * 8
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


async def test_a_secret_that_cannot_sign_concerns_its_tenant_only(db: Database, settings: ControlSettings) -> None:
    await add_tenant(db, "broken", "whsec_")
    good, process_id = (
        await ended(db, "https://good.example/"),
        await add_process(db, tenant_id="broken", callback_url="https://broken.example/"),
    )
    async with db.transaction() as conn:
        await move(conn, process_id, State.CANCELLED, actor="test")
    script = Script(Outcome(status=200))
    assert await deliver_due(db, script, settings) == 2
    assert [url for url, _, _ in script.sent] == ["https://good.example/"]
    assert (await delivery(db, good))["state"] == "delivered"
    assert (await delivery(db, process_id))["last_error"].startswith("signing: ")


async def test_the_timestamp_is_the_moment_of_the_try(db: Database, settings: ControlSettings) -> None:
    await ended(db, "https://hooks.example/")
    script = Script(Outcome(status=200))
    await deliver_due(db, script, settings)
    sent_at = datetime.fromtimestamp(int(script.sent[0][2]["webhook-timestamp"])).astimezone()
    assert abs(datetime.now().astimezone() - sent_at) < timedelta(seconds=5)
