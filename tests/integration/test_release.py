"""Release on a real PostgreSQL: limits hold, order is fair, and no accident with the log loses a record."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from contracts.intake import LogPosition
from contracts.messages import ReleaseRecord
from contracts.states import State
from contracts.strict_json import loads
from control.release import RELEASE_LOCK, RelayUnavailableError, release_once
from resources.database import Database, DatabaseUnavailableError
from resources.log import OutgoingRecord
from resources.settings import ControlSettings
from tests.integration.worker_rows import (
    add_process,
    add_tenant,
    all_processes,
    cut_off_others,
    events,
    kinds,
    outbox_ids,
    process,
    set_columns,
)
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


class AccidentalRelay:
    """A relay that stores records and then has an accident: it loses acknowledgements, or the caller dies."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.sent: list[ReleaseRecord] = []
        self.lose_every: int | None = None
        self.die = False
        self.open_transactions: list[int] = []
        self.watch: Database | None = None

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        self.sent += [ReleaseRecord.model_validate(loads(record.value)) for record in records]
        positions = await self.log.publish(records)
        if self.watch is not None:
            self.open_transactions.append(await open_transactions(self.watch))
        if self.die:
            raise ConnectionAbortedError("killed between the acknowledgement and the mark")
        if self.lose_every is not None:
            return [None if index % self.lose_every == 0 else at for index, at in enumerate(positions)]
        return positions

    async def close(self) -> None:
        await self.log.close()


async def open_transactions(db: Database) -> int:
    query = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in%'"
    async with db.transaction() as conn:
        return int(await conn.scalar(text(query)) or 0)


@pytest.fixture
def relay() -> AccidentalRelay:
    return AccidentalRelay(MemoryLog())


async def test_a_released_process_lies_in_the_log_and_says_where(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    process_id = await add_process(db)
    relay.watch = db
    assert await release_once(db, relay, settings) == 1
    row = await process(db, process_id)
    assert (row["state"], row["topic_id"], row["log_offset"]) == (State.ACCEPTED, relay.log.topic_id, 0)
    assert row["released_at"] is not None
    assert await outbox_ids(db) == set()
    assert relay.open_transactions == [0]
    (record,) = relay.sent
    assert (record.process_id, record.attempt, record.tenant) == (process_id, 1, "default")
    assert record.request().request_hash() == record.request_hash_ == row["request_hash"]
    (_, released) = await events(db, process_id)
    assert (released["kind"], released["detail"]["offset"]) == ("released", 0)
    assert await release_once(db, relay, settings) == 0


async def test_limits_hold_with_three_workers_at_once(db: Database, settings: ControlSettings) -> None:
    settings = settings.model_copy(update={"max_in_flight": 7})
    ids = [await add_process(db) for _ in range(40)]
    log = MemoryLog()
    most = 0

    async def worker() -> None:
        nonlocal most
        while await outbox_ids(db):
            await release_once(db, log, settings)
            rows = await all_processes(db)
            flying = [row["id"] for row in rows if row["released_at"] and row["state"] == State.ACCEPTED.value]
            most = max(most, len(flying))
            for done in flying[:3]:
                await set_columns(db, done, state=State.SUCCEEDED.value)

    async with asyncio.timeout(60):
        await asyncio.gather(*(worker() for _ in range(3)))
    assert most <= 7
    # None was sent twice either: nothing went wrong, so nothing was repeated.
    assert sum(len(written) for written in log._records) == len(ids)


async def test_only_the_holder_of_the_lock_releases(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    await add_process(db)
    async with db.exclusive(RELEASE_LOCK):
        assert await release_once(db, relay, settings) == 0
    assert relay.sent == []
    assert await release_once(db, relay, settings) == 1


async def test_dying_between_acknowledgement_and_mark_sends_again(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    process_id = await add_process(db)
    relay.die = True
    with pytest.raises(ConnectionAbortedError):
        await release_once(db, relay, settings)
    assert (await process(db, process_id))["released_at"] is None
    relay.die = False
    assert await release_once(db, relay, settings) == 1
    assert [record.process_id for record in relay.sent] == [process_id, process_id]
    assert (await kinds(db, process_id)).count("released") == 1


async def test_unacknowledged_records_stay_and_are_sent_again(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    ids = {await add_process(db) for _ in range(10)}
    relay.lose_every = 2
    with pytest.raises(RelayUnavailableError, match="5 of 10"):
        await release_once(db, relay, settings)
    assert len(await outbox_ids(db)) == 5
    relay.lose_every = None
    assert await release_once(db, relay, settings) == 5
    assert {row["id"] for row in await all_processes(db) if row["released_at"]} == ids


async def test_kafka_down_loses_nothing(db: Database, relay: AccidentalRelay, settings: ControlSettings) -> None:
    ids = {await add_process(db) for _ in range(3)}
    relay.log.broken = True
    for _ in range(3):
        with pytest.raises(RelayUnavailableError):
            await release_once(db, relay, settings)
    assert await outbox_ids(db) == ids
    relay.log.broken = False
    assert await release_once(db, relay, settings) == 3


async def test_the_sensor_may_be_faster_than_the_mark(db: Database, settings: ControlSettings) -> None:
    process_id = await add_process(db)

    class Overtaken(MemoryLog):
        async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
            positions = await super().publish(records)
            await set_columns(db, process_id, state=State.QUEUED.value)
            return positions

    assert await release_once(db, Overtaken(), settings) == 1
    row = await process(db, process_id)
    assert (row["state"], row["log_offset"]) == (State.QUEUED, 0)
    assert row["released_at"] is not None


async def test_a_newer_attempt_keeps_its_place_in_the_outbox(db: Database, settings: ControlSettings) -> None:
    process_id = await add_process(db)

    class Superseded(MemoryLog):
        async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
            positions = await super().publish(records)
            async with db.transaction() as conn:
                await conn.execute(text("update processes set attempt = 2"))
                await conn.execute(text("update outbox set attempt = 2"))
            return positions

    await release_once(db, Superseded(), settings)
    assert (await process(db, process_id))["released_at"] is None
    assert await outbox_ids(db) == {process_id}
    relay = AccidentalRelay(MemoryLog())
    await release_once(db, relay, settings)
    assert [record.attempt for record in relay.sent] == [2]


async def test_what_may_not_start_yet_waits(db: Database, relay: AccidentalRelay, settings: ControlSettings) -> None:
    await add_process(db, not_before=func.now() + timedelta(minutes=1))
    await add_process(db, ending={"state": "cancelled", "reason": None, "actor": "test"})
    await add_process(db, state=State.QUEUED.value, waiting=True)
    assert await release_once(db, relay, settings) == 0
    assert relay.sent == []


async def test_priority_comes_before_age(db: Database, relay: AccidentalRelay, settings: ControlSettings) -> None:
    old, low, high = await add_process(db), await add_process(db, priority=-1), await add_process(db, priority=5)
    await release_once(db, relay, settings.model_copy(update={"max_in_flight": 10}))
    assert [record.process_id for record in relay.sent] == [high, old, low]


async def test_places_are_filled_from_whoever_has_the_fewest(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    await add_tenant(db, "busy")
    await add_tenant(db, "quiet")
    for _ in range(4):
        await add_process(db, tenant_id="busy", released_at=func.now())
    for _ in range(6):
        await add_process(db, tenant_id="busy", priority=9)
        await add_process(db, tenant_id="quiet")
    await release_once(db, relay, settings.model_copy(update={"max_in_flight": 10}))
    # 4 in flight for busy: the first four places go to quiet, the other two to one each.
    assert Counter(record.tenant for record in relay.sent) == {"quiet": 5, "busy": 1}


async def test_one_unreadable_request_does_not_hold_up_the_others(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    broken = await add_process(db, request={"entity_id": "../x"}, priority=10)
    good = await add_process(db)
    assert await release_once(db, relay, settings) == 1
    assert [record.process_id for record in relay.sent] == [good]
    assert await outbox_ids(db) == {broken}
    assert await release_once(db, relay, settings) == 0


async def test_records_of_one_entity_keep_their_order(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    ids = [await add_process(db) for _ in range(20)]
    await release_once(db, relay, settings)
    offsets: dict[int, list[tuple[int, UUID]]] = {}
    for row in await all_processes(db):
        offsets.setdefault(row["log_partition"], []).append((row["log_offset"], row["id"]))
    assert [record.process_id for record in relay.sent] == ids
    for places in offsets.values():
        assert all(first[1] < second[1] for first, second in pairwise(sorted(places)))


async def test_a_database_that_breaks_off_while_kafka_is_asked_costs_only_a_repetition(
    db: Database, settings: ControlSettings
) -> None:
    process_id = await add_process(db)

    class CutOff(MemoryLog):
        async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
            await cut_off_others(db)
            return await super().publish(records)

    with pytest.raises(DatabaseUnavailableError):
        await release_once(db, CutOff(), settings)
    async with db.transaction() as conn:
        assert await conn.scalar(select(func.count()).select_from(text("pg_locks where locktype = 'advisory'"))) == 0
    relay = AccidentalRelay(MemoryLog())
    await release_once(db, relay, settings)
    assert (await process(db, process_id))["released_at"] is not None
