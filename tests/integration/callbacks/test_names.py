"""Callbacks to names that no name server answers for: they take nothing from the callbacks of others."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select

from contracts.states import State
from control.callbacks.sending import Courier
from control.tables import deliveries
from resources.callbacks.networks import parse_networks
from resources.callbacks.resolver import CAPACITY
from resources.callbacks.sender import GuardedSender
from resources.database import Database
from tests.integration.worker_rows import add_process, add_tenant
from tests.receiver import answering, receiver

pytestmark = pytest.mark.anyio
SILENT = ".silent.example"
DEADLINE_SECONDS = 0.5


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let look-ups of names that end in ``SILENT`` hang until the event is set."""
    answers, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **named: Any) -> Any:
        if str(host).endswith(SILENT):
            answers.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers
    answers.set()


async def add_due(db: Database, tenant: str, urls: Sequence[str]) -> None:
    """Let one ended process of the tenant have a callback due to each of ``urls``."""
    await add_tenant(db, tenant)
    process_id = await add_process(db, tenant_id=tenant, state=State.CANCELLED.value, finished_at=func.now())
    row = {"process_id": process_id, "tenant_id": tenant, "body": "{}"}
    async with db.transaction() as conn:
        await conn.execute(insert(deliveries), [{**row, "id": uuid4(), "url": url} for url in urls])


async def tries_of(db: Database, tenant: str) -> list[tuple[str, int, str | None]]:
    columns = (deliveries.c.state, deliveries.c.tries, deliveries.c.last_error)
    async with db.reading() as conn:
        found = await conn.execute(select(*columns).where(deliveries.c.tenant_id == tenant))
        return [(row.state, row.tries, row.last_error) for row in found]


async def test_names_without_an_answer_hold_only_their_tenants_places(
    db: Database, name_server: threading.Event
) -> None:
    await add_due(db, "slow", [f"https://h{number}{SILENT}/" for number in range(2 * CAPACITY)])
    sender = GuardedSender(parse_networks(("127.0.0.0/8", "::1/128")), deadline_seconds=DEADLINE_SECONDS)
    courier = Courier(db, sender, wait_seconds=0.05)
    began = time.monotonic()
    while time.monotonic() < began + 4 * DEADLINE_SECONDS:  # so that tries would follow each other, if they could
        await courier.step()
    async with receiver(answering("200 OK")) as hook:
        await add_due(db, "quick", [hook.url, f"http://localhost:{hook.port}/in"])
        async with asyncio.timeout(10):
            while len(hook.requests) < 2:
                await courier.step()
                assert {error for _, _, error in await tries_of(db, "quick")} == {None}
        name_server.set()
        await courier.finish()
    assert await tries_of(db, "quick") == [("delivered", 1, None)] * 2
    assert {error and error.partition(":")[0] for _, tries, error in await tries_of(db, "slow") if tries} == {"timeout"}
