"""Webhook secrets: which of them sign a callback, and what one that cannot sign costs."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from control.callbacks.sending import Courier
from control.tables import tenants
from control.tenancy import webhook_secrets
from control.tenancy.webhook_secrets import MAX_ACTIVE
from control.transitions import move
from resources.callbacks.sender import GuardedSender, Outcome
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.callbacks.deliveries import LOOPBACK, Script, deliver_due, delivery, ended
from tests.integration.worker_rows import add_process, add_tenant
from tests.receiver import answering, receiver

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("overlap", [timedelta(hours=1), timedelta(0)])
async def test_both_secrets_sign_while_one_is_replaced(db: Database, overlap: timedelta) -> None:
    async with receiver(answering("200 OK")) as hook:
        await ended(db, hook.url)
        async with db.transaction() as conn:
            old = (await webhook_secrets.newest_of(conn, DEFAULT_TENANT)).get_secret_value()
            new = (await webhook_secrets.rotate(conn, DEFAULT_TENANT, overlap)).get_secret_value()
        courier = Courier(db, GuardedSender(LOOPBACK), wait_seconds=0.01)
        while await courier.step():
            await courier.finish()
        (sent,) = hook.requests
        Webhook(new).verify(sent.body, sent.headers)
        if overlap:
            Webhook(old).verify(sent.body, sent.headers)
        else:
            with pytest.raises(WebhookVerificationError):
                Webhook(old).verify(sent.body, sent.headers)


async def test_only_so_many_secrets_sign(db: Database) -> None:
    async with db.transaction() as conn:
        for _ in range(3 * MAX_ACTIVE):
            made = await webhook_secrets.rotate(conn, DEFAULT_TENANT, timedelta(hours=1))
        assert await webhook_secrets.newest_of(conn, DEFAULT_TENANT) == made
        row = (await conn.execute(select(tenants).where(tenants.c.id == DEFAULT_TENANT))).mappings().one()
    signing = webhook_secrets.active(row["webhook_secret"], row["older_webhook_secrets"], datetime.now(UTC))
    assert (len(signing), signing[0]) == (MAX_ACTIVE, made.get_secret_value())


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
