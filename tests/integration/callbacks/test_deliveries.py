"""One delivery on a real PostgreSQL with a real receiver: what is sent, when again, and when no more."""

from datetime import datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from contracts.callbacks import Callback, webhook_id
from contracts.reasons import Reason
from contracts.states import State
from control.callbacks.schedule import MAX_TRIES
from resources.callbacks.sender import GuardedSender, Outcome
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.callbacks.deliveries import (
    REASON,
    Script,
    deliver_due,
    delivery,
    ended,
    failed_process,
    make_due,
)
from tests.integration.worker_rows import SECRET, events, kinds
from tests.receiver import answering

pytestmark = pytest.mark.anyio


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


async def test_the_timestamp_is_the_moment_of_the_try(db: Database, settings: ControlSettings) -> None:
    await ended(db, "https://hooks.example/")
    script = Script(Outcome(status=200))
    await deliver_due(db, script, settings)
    sent_at = datetime.fromtimestamp(int(script.sent[0][2]["webhook-timestamp"])).astimezone()
    assert abs(datetime.now().astimezone() - sent_at) < timedelta(seconds=5)


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
