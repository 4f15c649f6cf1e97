"""What a claim costs does not grow with what waits. Pages are the measure, not a clock."""

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from bench.plans import Sent, explain, sent_statements
from control.callbacks.breaker import FAILURES
from control.callbacks.sending import Courier
from resources.callbacks.sender import Outcome, SendError
from resources.database import Database
from tests.integration.callbacks.deliveries import Clock, Script, delivery, ended, steps

pytestmark = pytest.mark.anyio
WAITING, CHUNK = 100_000, 10_000
RECEIVERS = 600
"""More of one tenant than are looked at at once."""
SLACK = 30
"""Pages: an index grows by a level or two."""
_MORE = """
    INSERT INTO deliveries (id, process_id, tenant_id, url, body, next_try_at)
    SELECT gen_random_uuid(), process_id, tenant_id, format(:url, n), body, now() + :later
    FROM deliveries, generate_series(cast(:first AS int), :last) n WHERE id = :id
"""


async def add_more(db: Database, like: UUID, url: str, count: int, later: timedelta) -> None:
    given = {"id": (await delivery(db, like))["id"], "url": url, "later": later}
    for begin in range(0, count, CHUNK):  # a statement may take 5 s, on a machine with other work too
        async with db.transaction() as conn:
            await conn.execute(text(_MORE), {**given, "first": begin + 1, "last": min(begin + CHUNK, count)})


async def claimed(db: Database, courier: Courier) -> tuple[int, int]:
    """Begin what is due; return how many that were, and how many pages are read to find and claim as many again."""
    with sent_statements() as sent:
        count = await courier.step()
    await courier.finish()
    return count, await pages(db, [each for each in sent if "unnest" in each.statement])


async def pages(db: Database, statements: Sequence[Sent]) -> int:
    plans = [await explain(db, each) or "" for each in statements]
    found = [re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan) for plan in plans]
    return sum(int(count or 0) for each in found if each for count in each.groups())


async def test_a_claim_reads_nothing_of_what_waits_for_a_dead_host(db: Database) -> None:
    class Sender(Script):
        async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
            done = await super().send(url, body, headers)
            return Outcome(error=SendError.CONNECT) if "dead" in url else done

    dead = [await ended(db, f"https://dead.example/{number}") for number in range(FAILURES)]
    courier = Courier(db, Sender(Outcome(status=200)), wait_seconds=0.01, clock=Clock())
    await steps(courier)
    await ended(db, "https://alive.example/")
    count, least = await claimed(db, courier)
    assert count == 1
    await add_more(db, dead[0], "https://dead.example/more/%s", WAITING, timedelta(hours=-1))
    await ended(db, "https://alive.example/")
    count, read = await claimed(db, courier)
    assert count == 1
    assert read <= least + SLACK, "before PostgreSQL has looked at the table"
    async with db.transaction() as conn:
        await conn.execute(text("ANALYZE"))
    await ended(db, "https://alive.example/")
    count, read = await claimed(db, courier)
    assert count == 1
    assert read <= least + SLACK, "once it has"


async def test_of_a_tenant_with_many_receivers_some_are_looked_at_at_a_time_and_none_is_forgotten(db: Database) -> None:
    first = await ended(db, "https://a.example/")
    courier = Courier(db, Script(Outcome(status=200)), wait_seconds=0.01)
    await steps(courier)
    await add_more(db, first, "https://later-%s.example/", RECEIVERS, timedelta(hours=1))
    last = await ended(db, "https://zzz.example/")
    begun = [await courier.step() for _ in range(3)]
    await courier.finish()
    assert begun == [0, 0, 1]
    assert (await delivery(db, last))["state"] == "delivered"
    again = await ended(db, "https://a.example/")
    await courier.step()
    await courier.finish()
    assert (await delivery(db, again))["state"] == "delivered"
