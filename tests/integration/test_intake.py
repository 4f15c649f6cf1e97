"""Intake: every record ends as a launch, a duplicate, deferred, or a dead letter, and the same way again."""

import asyncio
import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from control.log.tables import cursors, dead_letters, log_gaps
from control.releasing.release import release_once
from control.tables import IN_FLIGHT_SQL, launches, outbox, processes
from tests.integration.control_plane import CATALOGUE, TOPIC, TOPIC_ID, ControlPlane
from tests.integration.memory_lake import DIGEST
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
NEWER = "b" * 64


async def test_a_record_is_launched_and_its_process_queued(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    (answer,) = await plane.take(await plane.record_of(process_id))
    assert answer["verdict"] == "launch"
    assert answer["launch"]["process_id"] == str(process_id)
    row = await plane.process(process_id)
    assert (row["state"], str(row["launch_id"])) == ("queued", answer["launch"]["launch_id"])


async def test_a_repeated_record_gets_the_same_launch(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    record = await plane.record_of(process_id)
    first, again = await plane.take(record, record)
    (later,) = await plane.take(record)
    assert first["launch"] == again["launch"] == later["launch"]
    (launch,) = await plane.rows(launches)
    assert launch["log_offset"] == 2  # the newest record decides when the launch counts as lost
    assert (await plane.kinds(process_id)).count("queued") == 1


async def test_a_launch_whose_mark_was_lost_is_in_flight_and_not_sent_again(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    record = await plane.record_of(process_id)  # as the worker sent it before it died
    plane.offset = 5
    await plane.take(record)
    row = await plane.process(process_id)
    assert row["released_at"] is not None
    assert (row["topic_id"], row["log_partition"], row["log_offset"]) == (TOPIC_ID, 0, 5)
    in_flight = select(func.count().label("count")).select_from(processes).where(IN_FLIGHT_SQL)
    assert [counted["count"] for counted in await plane.rows(in_flight)] == [1]
    assert await plane.rows(outbox) == []
    log = MemoryLog()
    assert await release_once(plane.db, log, plane.settings) == 0
    await plane.take(record)
    again = await plane.process(process_id)
    assert (again["released_at"], again["log_offset"]) == (row["released_at"], 5)


async def test_what_is_not_wanted_any_more_is_a_duplicate(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    record = await plane.record_of(process_id)
    await plane.take(record)
    await plane.report(process_id, "started")
    (running,) = await plane.take(record)
    await plane.failed(process_id)
    (outdated,) = await plane.take(record)
    assert running["verdict"] == outdated["verdict"] == "duplicate"
    assert await plane.relaunched(process_id)


async def test_an_action_without_code_is_deferred_and_stays_accepted(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    record = await plane.record_of(process_id)
    for offered in ({}, {"ingest": NEWER}, {"refine": DIGEST}):
        (answer,) = await plane.take(record, actions=offered)
        assert (answer["verdict"], answer["reason"]) == ("deferred", "action_not_deployed")
    assert (await plane.process(process_id))["state"] == "accepted"
    assert (await plane.kinds(process_id)).count("deferred") == 1
    assert await plane.relaunched(process_id)


async def test_what_is_deferred_gives_its_place_back(plane: ControlPlane) -> None:
    one_place, log = plane.settings.model_copy(update={"max_in_flight": 1}), MemoryLog()
    stuck, other = await plane.accepted(), await plane.accepted(data_version="v2")
    record = await plane.record_of(stuck)
    assert await release_once(plane.db, log, one_place) == 1
    assert await release_once(plane.db, log, one_place) == 0
    for _ in range(2):  # the same record is shown again where a tick's answer was lost
        (answer,) = await plane.take(record, actions={})
        assert answer["verdict"] == "deferred"
    assert (await plane.kinds(stuck)).count("resent") == 1
    assert await release_once(plane.db, log, one_place) == 1
    assert (await plane.process(other))["released_at"] is not None
    assert (await plane.process(stuck))["released_at"] is None
    assert await plane.relaunched(stuck)


async def test_newer_code_runs_what_did_not_pin_a_digest(plane: ControlPlane) -> None:
    free = await plane.accepted()
    pinned = await plane.accepted(data_version="v2", action_digest=DIGEST)
    records = [await plane.record_of(process_id) for process_id in (free, pinned)]
    await plane.publish({**CATALOGUE, "actions": [{**action, "digest": NEWER} for action in CATALOGUE["actions"]]})
    answers = await plane.take(*records, actions={"ingest": NEWER})
    assert [answer["verdict"] for answer in answers] == ["launch", "deferred"]


def _changed(record: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(record), **changes}).encode()


async def test_bad_records_die_and_good_ones_around_them_live(plane: ControlPlane) -> None:
    good = [await plane.record_of(await plane.accepted(data_version=f"g{number}")) for number in range(2)]
    victim = await plane.record_of(await plane.accepted(data_version="victim"))
    value = json.loads(victim)
    without_entity = {name: part for name, part in value.items() if name != "entity_id"}
    bad: list[tuple[bytes | None, str]] = [
        (None, "tombstone"),
        (b"", "poison"),
        (b"not json", "poison"),
        (b"\xff\xfe{}", "poison"),
        (b'{"a": 1, "a": 2}', "poison"),
        (b"[" * 3000, "poison"),
        (b'{"x": NaN}', "poison"),
        (b"[]", "invalid_record"),
        (b'"text"', "invalid_record"),
        (_changed(victim, contract_version=2), "wrong_version"),
        (_changed(victim, contract_version="1"), "wrong_version"),
        (json.dumps(without_entity).encode(), "invalid_record"),
        (_changed(victim, entity_id=7), "invalid_record"),
        (_changed(victim, entity_id="a\x00b"), "invalid_record"),
        (_changed(victim, params={"note": "a\x00b"}), "invalid_record"),
        (_changed(victim, **{"x\x00\n\u202e": 1}), "invalid_record"),
        (_changed(victim, process_id="42"), "invalid_record"),
        (_changed(victim, params={"forged": True}), "hash_mismatch"),
        (
            await plane.record_of(await plane.accepted(data_version="x"), process_id=value["process_id"]),
            "hash_mismatch",
        ),
        (_changed(victim, process_id=str(uuid4())), "unknown_process"),
        (_changed(victim, tenant="somebody_else"), "unknown_process"),
    ]
    answers = await plane.take(good[0], *(record for record, _ in bad), good[1])
    assert [answer["verdict"] for answer in answers] == ["launch", *["dead"] * len(bad), "launch"]
    letters = {row["log_offset"]: row for row in await plane.rows(dead_letters)}
    found = [(letters[offset]["value"], letters[offset]["code"]) for offset in range(1, len(bad) + 1)]
    assert found == bad
    assert all(row["message"].isprintable() for row in letters.values())
    assert "entity_id: missing: Field required" in {row["message"] for row in letters.values()}
    assert (await plane.take(victim))[0]["verdict"] == "launch"


async def test_an_oversized_record_dies_and_a_foreign_topic_waits(plane: ControlPlane) -> None:
    record = b64encode(await plane.record_of(await plane.accepted())).decode()
    positions = [{"topic_id": TOPIC_ID, "partition": 0, "offset": offset} for offset in range(2)]
    answers = await plane.intake(
        [
            {"topic": TOPIC, "position": positions[0], "value": record, "truncated_from": 2_000_000},
            {"topic": "another", "position": positions[1], "value": record},
        ]
    )
    found = [(answer["verdict"], answer["reason"].partition(":")[0]) for answer in answers]
    assert found == [("dead", "oversized"), ("later", "unexpected_topic")]


async def test_a_replayed_batch_gets_the_same_answers(plane: ControlPlane) -> None:
    record = b64encode(await plane.record_of(await plane.accepted())).decode()
    values = [record, None, b64encode(b"{").decode()]
    batch = [
        {"topic": TOPIC, "position": {"topic_id": TOPIC_ID, "partition": 0, "offset": offset}, "value": value}
        for offset, value in enumerate(values)
    ]
    assert await plane.intake(batch) == await plane.intake(batch)
    assert len(await plane.rows(dead_letters)) == 2


async def test_the_cursor_only_moves_on_within_one_topic_id(plane: ControlPlane) -> None:
    async def told(topic_id: str, offset: int) -> tuple[str, int]:
        topics = {TOPIC: {"topic_id": topic_id, "next_offsets": {"0": offset}}}
        await plane.intake([], persisted={"topics": topics})
        (row,) = await plane.rows(cursors)
        return row["topic_id"], row["next_offset"]

    assert await told("one", 5) == ("one", 5)
    assert await told("one", 3) == ("one", 5)
    assert await told("two", 1) == ("two", 1)


async def test_a_gap_is_recorded_once(plane: ControlPlane) -> None:
    gap = {"topic": TOPIC, "topic_id": TOPIC_ID, "partition": 0, "expected": 3, "found": 9}
    for _ in range(2):
        await plane.intake([], gaps=[gap])
    (row,) = await plane.rows(log_gaps)
    assert (row["expected_offset"], row["found_offset"]) == (3, 9)


async def test_two_ticks_that_show_the_same_records_crosswise_do_not_block_each_other(plane: ControlPlane) -> None:
    process_ids = [await plane.accepted(data_version=f"v{number}") for number in range(12)]
    records = [await plane.record_of(process_id) for process_id in process_ids]
    for _ in range(3):
        forwards, backwards = await asyncio.gather(plane.take(*records), plane.take(*records[::-1]))
        launched = [answer["launch"] for answer in forwards]
        assert launched == [answer["launch"] for answer in backwards][::-1]
        assert None not in launched
