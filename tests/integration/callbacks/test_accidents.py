"""Workers that die, race or come late, on a real PostgreSQL: a callback arrives at least once, under one id."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control.callbacks.schedule import MAX_TRIES
from control.callbacks.sending import Courier
from control.tables import deliveries
from resources.callbacks.sender import Outcome
from resources.database import Database, DatabaseUnavailableError
from resources.settings import ControlSettings
from tests.integration.callbacks.deliveries import Script, deliver_due, delivery, ended, make_due
from tests.integration.worker_rows import kinds

pytestmark = pytest.mark.anyio


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
