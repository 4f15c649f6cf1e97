"""Deliveries that are due, and a sender and a clock that do what a test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, select, update

from contracts.reasons import Reason, ReasonCode
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from control.callbacks.sending import Courier, Sender
from control.tables import deliveries
from control.transitions import move
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import Outcome
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.worker_rows import add_process, add_tenant
from tests.receiver import Answer, Receiver, receiver

LOOPBACK = parse_networks(("127.0.0.0/8",))
REASON = Reason(code=ReasonCode.CHECK_FAILED, message="not_null(month): 3 rows").model_dump(mode="json")


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


class Clock:
    """Stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def deliver_due(db: Database, sender: Sender, settings: ControlSettings) -> int:
    """Send everything that is due, and what becomes due meanwhile; returns the number of tries."""
    courier = Courier(db, sender, wait_seconds=settings.callback_interval)
    tries = 0
    while started := await courier.step():
        tries += started
        await courier.finish()
    return tries


async def steps(courier: Courier) -> None:
    for _ in range(20):
        await courier.step()
    await courier.finish()


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


async def made_older(db: Database, by: timedelta) -> None:
    """Let every delivery that is there have been due for so long."""
    async with db.transaction() as conn:
        await conn.execute(update(deliveries).values(next_try_at=deliveries.c.next_try_at - by))


@asynccontextmanager
async def failed_process(db: Database, answer: Answer) -> AsyncIterator[tuple[Receiver, UUID]]:
    async with receiver(answer) as state:
        yield state, await ended(db, state.url)
