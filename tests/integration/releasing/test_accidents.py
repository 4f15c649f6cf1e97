"""No accident with the log or the database, on a real PostgreSQL, loses a record."""

from collections.abc import Sequence

import pytest
from sqlalchemy import func, select, text

from contracts.intake import LogPosition
from contracts.states import State
from control.releasing.release import RelayUnavailableError, release_once
from resources.database import Database, DatabaseUnavailableError
from resources.log import OutgoingRecord
from resources.settings import ControlSettings
from tests.integration.releasing.accidental_relay import AccidentalRelay
from tests.integration.worker_rows import (
    add_process,
    all_processes,
    cut_off_others,
    kinds,
    outbox_ids,
    process,
    set_columns,
)
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


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
