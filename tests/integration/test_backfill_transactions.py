"""A backfill becomes processes without a long transaction: a statement or a row is the measure, not a clock."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event

from bench.plans import sent_statements
from control.backfills import expansion
from control.backfills.expansion import CHUNK
from control.backfills.tables import backfill_entities
from tests.integration.backfilling import count, create, expand, expander, shown
from tests.integration.tenant import Caller

pytestmark = pytest.mark.anyio
ENTITIES = 3 * CHUNK
PER_ENTITY, BESIDES = 4, 20
"""Statements: a savepoint, the rows, a look for what is published, the savepoint's end; and what a chunk needs."""


@pytest.fixture
def transactions() -> Iterator[list[int]]:
    """Fill a list with the number of statements of every transaction that this process commits."""
    open_ones: dict[Connection, int] = {}
    ended: list[int] = []

    def begin(conn: Connection) -> None:
        open_ones[conn] = 0

    def sent(conn: Connection, *_: Any) -> None:
        if conn in open_ones:
            open_ones[conn] += 1

    def commit(conn: Connection) -> None:
        ended.append(open_ones.pop(conn))

    told = {"begin": begin, "before_cursor_execute": sent, "commit": commit}
    for name, listener in told.items():
        event.listen(Engine, name, listener)
    yield ended
    for name, listener in told.items():
        event.remove(Engine, name, listener)


async def test_no_transaction_grows_with_the_backfill(acme: Caller, transactions: list[int]) -> None:
    made = await create(acme, entities=[f"e-{number:04}" for number in range(ENTITIES)])
    assert max(transactions) < BESIDES
    assert await expand(acme.plane) == ENTITIES
    assert (await shown(acme, made))["state"] == "expanded"
    assert await count(acme.plane) == ENTITIES
    assert max(transactions) <= PER_ENTITY * CHUNK + BESIDES


async def test_a_database_that_is_slow_ends_a_chunk_early(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await create(acme, entities=["a", "b", "c", "d"])
    worker = expander(acme.plane)
    monkeypatch.setattr(expansion, "MAKE_SECONDS", 0)
    assert [await worker.step() for _ in range(2)] == [1, 1]
    monkeypatch.undo()
    assert await worker.step() == 2
    found = await shown(acme, made)
    assert (found["state"], found["looked_at"], found["processes"]) == ("expanded", 4, {"accepted": 4})


async def test_nothing_is_looked_up_for_each_entity_while_a_backfill_is_created(acme: Caller) -> None:
    with sent_statements() as sent:
        await create(acme, entities=["a", "b", "c"])
    (written,) = [each for each in sent if each.statement.startswith("INSERT INTO backfill_entities")]
    async with acme.plane.db.transaction() as conn:
        await conn.execute(delete(backfill_entities))
        plan = await conn.exec_driver_sql(f"EXPLAIN (ANALYZE) {written.statement}", written.parameters)
        lines = [str(line) for line in plan.scalars()]
        await conn.rollback()
    assert lines[0].startswith("Insert on backfill_entities")
    assert not [line for line in lines if line.startswith("Trigger")]
