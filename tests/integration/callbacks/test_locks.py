"""Deliveries are noted and sent again at the same moment: everybody locks a process before what belongs to it."""

import asyncio

import pytest
from sqlalchemy import update

from contracts.tenancy import DEFAULT_TENANT, Scope, Tenant
from control.callbacks.deliveries import redeliver
from control.callbacks.schedule import MAX_TRIES
from control.callbacks.sending import Courier
from control.tables import deliveries
from control.tenancy.keys import Caller
from control.transitions import lock
from resources.callbacks.sender import Outcome
from resources.database import Database
from tests.integration.callbacks.deliveries import Script, delivery, ended
from tests.integration.waiting import until_waiting
from tests.integration.worker_rows import kinds

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("tries", "then"), [(0, "delivered"), (MAX_TRIES, "pending")])
async def test_noting_and_sending_again_do_not_wait_for_each_other(db: Database, tries: int, then: str) -> None:
    process_id = await ended(db, "https://hooks.example/")
    async with db.transaction() as conn:
        await conn.execute(update(deliveries).values(tries=tries))
    caller = Caller(Tenant(id=DEFAULT_TENANT), "lm_test", frozenset({Scope.SUBMIT}))
    courier = Courier(db, Script(Outcome(status=200)), wait_seconds=0.01)

    async def send() -> None:
        await courier.step()
        await courier.finish()

    async with asyncio.TaskGroup() as both, db.transaction() as holder:
        await lock(holder, process_id)
        both.create_task(redeliver(db, caller, process_id))
        await until_waiting(db, 1)
        both.create_task(send())
        await until_waiting(db, 2)
    assert "callback_repeated" in await kinds(db, process_id)
    assert (await delivery(db, process_id))["state"] == then
