"""Records that the sensor's cursor has passed without a launch go out again, and no others."""

import pytest
from sqlalchemy import func

from contracts.cursor import Cursor, TopicPosition
from contracts.states import State
from control.log.position import note_cursor
from control.releasing.release import release_once
from control.rules.reconciling import RESEND_SECONDS
from resources.settings import ControlSettings
from tests.integration.reconciling.rig import PLACE, Rig
from tests.integration.worker_rows import TOPIC_ID, add_process, events, outbox_ids, process
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


async def test_the_backlog_is_neither_read_from_the_lake_nor_touched(rig: Rig) -> None:
    ids = {await add_process(rig.db) for _ in range(5)}
    assert await rig.run() == 0
    assert rig.lake.asked == []
    assert await outbox_ids(rig.db) == ids


async def test_a_lost_record_goes_out_again_with_growing_patience(rig: Rig, settings: ControlSettings) -> None:
    process_id = await add_process(rig.db)
    log = MemoryLog(partitions=1)
    await release_once(rig.db, log, settings)
    released = await process(rig.db, process_id)
    await rig.persist(released["log_offset"], log.topic_id)
    assert await rig.run() == 0
    await rig.persist(released["log_offset"] + 1, log.topic_id)
    assert await rig.run() == 1
    row = await process(rig.db, process_id)
    assert (row["state"], row["attempt"], row["released_at"], row["topic_id"]) == (State.ACCEPTED, 1, None, None)
    assert await outbox_ids(rig.db) == {process_id}
    assert await rig.run() == 0
    assert await release_once(rig.db, log, settings) == 1
    await rig.persist(released["log_offset"] + 2, log.topic_id)
    assert await rig.run() == 1
    assert await release_once(rig.db, log, settings) == 0
    lost = [event["detail"] for event in await events(rig.db, process_id) if event["kind"] == "resent"]
    assert [detail["again_in_seconds"] for detail in lost] == list(RESEND_SECONDS[:2])


async def test_a_recreated_topic_sends_its_records_again(rig: Rig) -> None:
    process_id = await add_process(rig.db, **PLACE, released_at=func.now())
    await rig.persist(0, "another-topic")
    assert await rig.run() == 1
    assert await outbox_ids(rig.db) == {process_id}


async def test_a_cursor_of_another_topic_from_before_the_release_says_nothing(rig: Rig) -> None:
    await rig.persist(9, "another-topic")
    process_id = await add_process(rig.db, **PLACE, released_at=func.now())
    assert await rig.run() == 0
    assert await rig.state(process_id) == (State.ACCEPTED, 1)


async def test_a_cursor_of_another_topic_name_says_nothing(rig: Rig) -> None:
    await add_process(rig.db, **PLACE, released_at=func.now())
    async with rig.db.transaction() as conn:
        position = TopicPosition(topic_id=TOPIC_ID, next_offsets={0: 99})
        await note_cursor(conn, Cursor(topics={"direct": position}))
    assert await rig.run() == 0
