"""A backfill becomes processes without a long transaction: a statement or a row is the measure, not a clock."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from control.backfills.expansion import CHUNK
from tests.integration.backfilling import count, create, expand, shown
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
