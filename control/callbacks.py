"""Callbacks: what is due is claimed under a lease, signed, sent, and noted.

A claim counts the try and moves the next one behind the lease, so a worker that dies while sending costs a repetition
and never a callback. Many are under way at once, and a slow receiver holds only its own places.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import RowMapping, Update, func, literal, select, update
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from contracts.problems import LakemillError
from control.callback_schedule import DeliveryState, Verdict, judge
from control.tables import deliveries, processes, tenants
from control.transitions import note
from resources.callback_sender import Outcome, SendError
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

LEASE = timedelta(seconds=60)
"""Longer than any send may take; afterwards another worker sends again."""
CAPACITY = 256
PER_HOST = 16
_LOOKED_AT = 1000
"""Due rows ranked per claim; the hosts whose places are taken are left out before."""
_EVENTS = {
    DeliveryState.DELIVERED: "callback_delivered",
    DeliveryState.PENDING: "callback_failed",
    DeliveryState.EXHAUSTED: "callback_exhausted",
}


class Sender(Protocol):
    """One POST; ``resources.callback_sender.GuardedSender`` is one."""

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        """Return what became of it. Never raises for what the receiver does."""
        ...


@dataclass(frozen=True, slots=True)
class _Claimed:
    id: UUID
    url: str
    body: str
    tries: int
    process_id: UUID
    attempt: int
    secret: str = field(repr=False)

    @classmethod
    def of(cls, row: RowMapping) -> "_Claimed":
        return cls(**row)


async def deliver_due(db: Database, sender: Sender, settings: ControlSettings) -> int:
    """Send everything that is due, and what becomes due meanwhile; returns the number of tries."""
    courier = Courier(db, sender, wait_seconds=settings.callback_interval)
    tries = 0
    while True:
        started = await courier.step()
        tries += started
        if not started and not courier.under_way:
            return tries


class Courier:
    """Sends callbacks, up to ``capacity`` at once and about ``per_host`` to one host."""

    def __init__(
        self,
        db: Database,
        sender: Sender,
        *,
        wait_seconds: float = 0.5,
        capacity: int = CAPACITY,
        per_host: int = PER_HOST,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._sender = sender
        self._wait = wait_seconds
        self._capacity = capacity
        self._per_host = per_host
        self._chance = chance
        self._tasks: dict[asyncio.Task[None], str] = {}

    @property
    def under_way(self) -> int:
        """How many sends have not ended."""
        return len(self._tasks)

    async def step(self) -> int:
        """Wait a moment for a send to end, then begin what is due and fits; returns how many were begun.

        Raises what a send met that is not the receiver's doing: DatabaseUnavailableError (the lease sends it again).
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._wait, return_when=asyncio.FIRST_COMPLETED)
        self._collect()
        claimed = await self._claim()
        if claimed:
            crash_point("C1")
        for each in claimed:
            self._tasks[asyncio.create_task(self._deliver(each))] = each.url.split("/", 3)[2]
        return len(claimed)

    async def finish(self) -> None:
        """Begin nothing more and wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._collect()

    def _collect(self) -> None:
        done = [task for task in self._tasks if task.done()]
        for task in done:
            del self._tasks[task]
        errors = [error for task in done if (error := task.exception()) is not None]
        # A mistake of ours must surface even when the database failed the others at the same time.
        for error in sorted(errors, key=lambda error: isinstance(error, LakemillError)):
            raise error

    async def _claim(self) -> list[_Claimed]:
        free = self._capacity - len(self._tasks)
        if free <= 0:
            return []
        taken = [host for host, places in Counter(self._tasks.values()).items() if places >= self._per_host]
        async with self._db.transaction() as conn:
            rows = await conn.execute(_claiming(free, self._per_host, taken))
            return [_Claimed.of(row) for row in rows.mappings()]

    async def _deliver(self, claimed: _Claimed) -> None:
        outcome = await self._send(claimed)
        if outcome.is_delivered:
            crash_point("C3")
        verdict = judge(claimed.tries, outcome, self._chance())
        async with self._db.transaction() as conn:
            if (await conn.execute(_marking(claimed, outcome, verdict))).first() is None:
                return  # another worker has taken over after the lease
            row = {"id": claimed.process_id, "attempt": claimed.attempt}
            detail = _detail(claimed, outcome, verdict)
            await note(conn, row, kind=_EVENTS[verdict.state], actor="worker", detail=detail)

    async def _send(self, claimed: _Claimed) -> Outcome:
        try:
            headers = signed_headers(claimed.id, claimed.body, claimed.secret, datetime.now(UTC))
        except (ValueError, EmptyWebhookSecretError) as error:
            # One tenant's unusable secret must not stop the callbacks of all others.
            return Outcome(error=SendError.SIGNING, detail=f"the tenant's webhook secret cannot sign: {error}")
        return await self._sender.send(claimed.url, claimed.body.encode(), headers)


def signed_headers(webhook_id: UUID, body: str, secret: str, at: datetime) -> dict[str, str]:
    """Return the headers of one try: Standard Webhooks, signed over exactly ``body`` at the aware moment ``at``.

    Raises ValueError or EmptyWebhookSecretError for a secret that is not ``whsec_`` and base64.
    """
    return {
        "Content-Type": "application/json",
        "User-Agent": "Lakemill",
        "webhook-id": str(webhook_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(str(webhook_id), at.astimezone(UTC), body),
    }


def _claiming(free: int, per_host: int, taken: list[str]) -> Update:
    is_due = (deliveries.c.state == DeliveryState.PENDING.value, deliveries.c.next_try_at <= func.now())
    host = func.split_part(deliveries.c.url, literal("/"), 3)
    oldest = select(deliveries.c.id, deliveries.c.next_try_at, host.label("host")).where(*is_due, host.not_in(taken))
    seen = oldest.order_by(deliveries.c.next_try_at).limit(_LOOKED_AT).subquery("seen")
    place = func.row_number().over(partition_by=seen.c.host, order_by=seen.c.next_try_at)
    ranked = select(seen.c.id, seen.c.next_try_at, place.label("place")).subquery("ranked")
    fair = select(ranked.c.id).where(ranked.c.place <= per_host).order_by(ranked.c.place, ranked.c.next_try_at)
    free_rows = select(deliveries.c.id).where(deliveries.c.id.in_(fair.limit(free)), *is_due)
    return (
        update(deliveries)
        .where(
            deliveries.c.id.in_(free_rows.with_for_update(skip_locked=True)),
            processes.c.id == deliveries.c.process_id,
            tenants.c.id == deliveries.c.tenant_id,
        )
        .values(tries=deliveries.c.tries + 1, next_try_at=func.now() + LEASE)
        .returning(
            deliveries.c.id,
            deliveries.c.url,
            deliveries.c.body,
            deliveries.c.tries,
            deliveries.c.process_id,
            processes.c.attempt,
            tenants.c.webhook_secret.label("secret"),
        )
    )


def _marking(claimed: _Claimed, outcome: Outcome, verdict: Verdict) -> Update:
    change = update(deliveries).where(deliveries.c.id == claimed.id, deliveries.c.state == DeliveryState.PENDING.value)
    values: dict[str, Any] = {"state": verdict.state.value, "last_status": outcome.status, "last_error": None}
    if outcome.is_delivered:
        # Whoever claimed it meanwhile: it has arrived.
        return change.values(**values, delivered_at=func.now()).returning(deliveries.c.id)
    values["last_error"] = f"{outcome.error.value}: {outcome.detail}" if outcome.error else outcome.detail
    if verdict.delay is not None:
        values["next_try_at"] = func.now() + verdict.delay
    return change.where(deliveries.c.tries == claimed.tries).values(values).returning(deliveries.c.id)


def _detail(claimed: _Claimed, outcome: Outcome, verdict: Verdict) -> dict[str, Any]:
    return {
        "webhook_id": str(claimed.id),
        "url": claimed.url,
        "tries": claimed.tries,
        "status": outcome.status,
        "error": outcome.error and outcome.error.value,
        "next_try_in_seconds": verdict.delay and round(verdict.delay.total_seconds()),
    }
