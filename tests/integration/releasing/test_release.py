"""Release on a real PostgreSQL: what goes to the log, in which order, and what waits."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import func

from contracts.states import State
from control.releasing.release import RELEASE_LOCK, release_once
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.releasing.accidental_relay import AccidentalRelay
from tests.integration.worker_rows import add_process, all_processes, events, outbox_ids, process

pytestmark = pytest.mark.anyio


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


async def test_only_the_holder_of_the_lock_releases(
    db: Database, relay: AccidentalRelay, settings: ControlSettings
) -> None:
    await add_process(db)
    async with db.exclusive(RELEASE_LOCK):
        assert await release_once(db, relay, settings) == 0
    assert relay.sent == []
    assert await release_once(db, relay, settings) == 1


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
