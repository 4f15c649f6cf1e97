"""Callbacks: what is due is claimed under a lease, signed, sent, and noted.

A claim counts the try and moves the next one behind the lease, so a worker that dies while sending costs a repetition
and never a callback. Many are under way at once, and a slow receiver holds only its own places.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from control.callbacks.breaker import Breakers
from control.callbacks.claims import Claimed, claim, claim_worn_out, look
from control.callbacks.marks import Tried, mark
from control.callbacks.places import Places, Receiver, allot
from control.callbacks.schedule import MAX_TRIES, CallbackVerdict, DeliveryState, judge
from control.tenancy.webhook_secrets import active
from resources.callbacks.resolver import CAPACITY
from resources.callbacks.sender import Outcome, SendError
from resources.database import Database
from resources.faults import crash_point

PER_HOST = 16
_GATHER_SECONDS = 0.02
"""Sends that end together are replaced by one claim."""
_NEVER_ENDED = Outcome(error=SendError.NEVER_ENDED, detail="the last try was begun, and nothing became known of it")


class Sender(Protocol):
    """One POST; ``resources.callbacks.sender.GuardedSender`` is one."""

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        """Return what became of it. Never raises for what the receiver does."""
        ...


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._sender = sender
        self._wait = wait_seconds
        # Half at most for one tenant, so that the other half is there for the others.
        self._places = Places(capacity, per_host, per_tenant=max(capacity // 2, 1))
        self._after: dict[str, str] = {}
        self._chance = chance
        self._breakers = Breakers(clock)
        self._tasks: dict[asyncio.Task[Outcome], Claimed] = {}
        self._unmarked: list[Tried] = []

    async def step(self) -> int:
        """Wait a moment for sends to end, note what became of them, begin what is due and fits; returns how many.

        Raises DatabaseUnavailableError; what could not be noted is noted by the next step.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._wait, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(_GATHER_SECONDS)
        await self._mark_ended()
        claimed = await self._claim()
        if claimed:
            crash_point("C1")
        for each in claimed:
            self._tasks[asyncio.create_task(self._send(each))] = each
        return len(claimed)

    async def finish(self) -> None:
        """Begin nothing more, wait for what is under way, and note it."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._mark_ended()

    async def _mark_ended(self) -> None:
        ended = [(task, self._tasks.pop(task)) for task in list(self._tasks) if task.done()]
        failures = [error for task, _ in ended if (error := task.exception()) is not None]
        dead: dict[Receiver, Outcome] = {}
        for task, claimed in ended:
            if task.exception() is None:
                outcome = task.result()
                if self._breakers.note(claimed.receiver, outcome):
                    dead[claimed.receiver] = outcome
                self._unmarked.append(Tried(claimed, outcome, judge(claimed.tries, outcome, self._chance())))
        if any(each.outcome.is_delivered for each in self._unmarked):
            crash_point("C3")
        if self._unmarked:
            async with self._db.transaction() as conn:
                await mark(conn, self._unmarked)
            self._unmarked.clear()
        for receiver, outcome in dead.items():
            await self._give_up(receiver, outcome)
        for error in failures:  # a mistake of ours: a sender returns whatever the receiver does
            raise error

    async def _give_up(self, receiver: Receiver, outcome: Outcome) -> None:
        """End what has waited for a dead host for longer than its tries would have taken."""
        given_up = CallbackVerdict(DeliveryState.EXHAUSTED)
        while True:
            async with self._db.transaction() as conn:
                worn_out = await claim_worn_out(conn, receiver)
            if not worn_out:
                return
            async with self._db.transaction() as conn:
                await mark(conn, [Tried(each, outcome, given_up) for each in worn_out])

    async def _claim(self) -> list[Claimed]:
        under_way = Counter(each.receiver for each in self._tasks.values())
        if under_way.total() >= self._places.in_all:
            return []
        async with self._db.reading() as conn:
            waiting, self._after = await look(conn, self._after)
        allotted = allot(waiting, under_way, self._places, self._most)
        if not allotted:
            return []
        async with self._db.transaction() as conn:
            claimed = await claim(conn, allotted)
        # Claimed so often and never judged: it may be what ends the workers.
        worn_out = [each for each in claimed if each.tries > MAX_TRIES]
        if worn_out:
            async with self._db.transaction() as conn:
                await mark(
                    conn, [Tried(each, _NEVER_ENDED, CallbackVerdict(DeliveryState.EXHAUSTED)) for each in worn_out]
                )
        return [each for each in claimed if each.tries <= MAX_TRIES]

    def _most(self, receiver: Receiver) -> int:
        return self._breakers.most(receiver, self._places.per_host)

    async def _send(self, claimed: Claimed) -> Outcome:
        try:
            now = datetime.now(UTC)
            headers = signed_headers(claimed.id, claimed.body, active(claimed.secret, claimed.older_secrets, now), now)
        except (ValueError, EmptyWebhookSecretError) as error:
            # One tenant's unusable secret must not stop the callbacks of all others.
            return Outcome(error=SendError.SIGNING, detail=f"the tenant's webhook secret cannot sign: {error}")
        return await self._sender.send(claimed.url, claimed.body.encode(), headers)


def signed_headers(webhook_id: UUID, body: str, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """Return the headers of one try: Standard Webhooks, signed over exactly ``body`` at the aware moment ``at``.

    There is a signature for each secret; a receiver needs to know one.

    Raises ValueError or EmptyWebhookSecretError for a secret that is not ``whsec_`` and base64.
    """
    return {
        "Content-Type": "application/json",
        "User-Agent": "Lakemill",
        "webhook-id": str(webhook_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Webhook(secret).sign(str(webhook_id), at.astimezone(UTC), body) for secret in secrets
        ),
    }
