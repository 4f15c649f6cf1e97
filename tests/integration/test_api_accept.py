"""Accept: one process per request, whatever is repeated or raced."""

import asyncio

import pytest
from sqlalchemy import select

from control.tables import idempotency_keys, outbox, processes, snapshots
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import DIGEST, place

pytestmark = pytest.mark.anyio


async def test_a_submit_is_answered_with_its_process(plane: ControlPlane) -> None:
    answer = await plane.submit()
    assert answer.status_code == 202
    body = answer.json()
    assert body["state"] == "accepted"
    assert body["dataset"] == "raw"
    assert answer.headers["location"] == f"/v1/processes/{body['process_id']}"
    shown = (await plane.get(answer.headers["location"])).json()
    assert shown["process_id"] == body["process_id"]
    assert shown["blocked_by"]["code"] == "waiting_for_release"
    assert [entry["stage"] for entry in shown["timeline"]] == ["accepted"]
    assert len(await plane.rows(outbox)) == 1


async def test_64_parallel_posts_with_one_key_make_one_process(plane: ControlPlane) -> None:
    answers = await asyncio.gather(*(plane.submit({"Idempotency-Key": "k-1"}) for _ in range(64)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(await plane.rows(processes)) == 1


async def test_the_first_answer_outlives_the_process_and_the_action(plane: ControlPlane) -> None:
    first = await plane.submit({"Idempotency-Key": "k-1"})
    assert (await plane.publish({"actions": [], "profiles": {}})).status_code == 204
    assert (await plane.submit({"Idempotency-Key": "k-1"})).content == first.content
    assert (await plane.submit({"Idempotency-Key": "k-2"})).json()["code"] == "unknown_action"


async def test_an_alias_and_another_order_of_keys_are_the_same_body(plane: ControlPlane) -> None:
    first = await plane.submit({"Idempotency-Key": "k-1"}, params={"a": 1, "b": 1e16})
    again = await plane.submit(
        {"Idempotency-Key": "k-1"}, action=None, action_type="ingest", params={"b": 1e16, "a": 1}
    )
    assert again.content == first.content


async def test_a_key_with_another_body_is_refused(plane: ControlPlane) -> None:
    await plane.submit({"Idempotency-Key": "k-1"})
    other = await plane.submit({"Idempotency-Key": "k-1"}, priority=1)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_two_producers_of_one_coordinate_make_one_process(plane: ControlPlane) -> None:
    answers = await asyncio.gather(*(plane.submit({"Idempotency-Key": f"k-{number}"}) for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    (winner,) = [answer.json()["process_id"] for answer in answers if answer.status_code == 202]
    losers = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(loser["code"], loser["process_id"]) for loser in losers} == {("process_active", winner)}
    assert len(await plane.rows(idempotency_keys)) == 1


async def test_a_published_coordinate_is_refused_with_its_snapshot(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    answer = await plane.submit()
    assert (answer.status_code, answer.json()["code"]) == (409, "version_already_published")
    assert answer.json()["snapshot"]["path"] == "s3://lake/cust_8842/v1/raw"


async def test_a_retired_coordinate_is_refused_for_ever(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    async with plane.db.transaction() as conn:
        await conn.execute(snapshots.update().values(retired_at=snapshots.c.committed_at))
    assert (await plane.submit()).json()["code"] == "version_retired"
    answer = await plane.submit(action="refine", params={"day": "d"})
    assert answer.json()["code"] == "missing_input"


async def test_a_refusal_stores_nothing(plane: ControlPlane) -> None:
    await plane.submit()
    assert (await plane.submit({"Idempotency-Key": "k-1"})).status_code == 409
    assert await plane.rows(idempotency_keys) == []
    assert len(await plane.rows(processes)) == 1


async def test_an_input_is_looked_up_once_and_then_known(plane: ControlPlane) -> None:
    missing = await plane.submit(action="refine", params={"day": "d"})
    assert (missing.status_code, missing.json()["code"], missing.json()["input"]) == (422, "missing_input", "raw")
    plane.lake.commit(place(data_version="v0"), None)
    reference = {"raw": {"entity_id": "cust_8842", "data_version": "v0"}}
    assert (await plane.submit(action="refine", params={"day": "d"}, inputs=reference)).status_code == 202
    asked = len(plane.lake.asked)
    again = await plane.submit(action="refine", data_version="v2", params={"day": "d"}, inputs=reference)
    assert again.status_code == 202
    assert len(plane.lake.asked) == asked


async def test_a_silent_lake_does_not_refuse(plane: ControlPlane) -> None:
    plane.lake.is_down = True
    for version in ("v1", "v2"):
        answer = await plane.submit(action="refine", data_version=version, params={"day": "d"})
        assert answer.status_code == 202
    assert len(plane.lake.asked) == 1  # after the first silence the lake is left alone for a while


async def test_profiles_are_granted_with_a_reason(plane: ControlPlane) -> None:
    inline = {"driver_cores": 4, "executor_instances": 8, "executor_memory": "16g"}
    expected = [(None, 1, "action's own"), ("large", 8, "as requested"), (inline, 8, "as requested")]
    for number, (wanted, executors, why) in enumerate(expected):
        process_id = await plane.accepted(resource_profile=wanted, data_version=f"p{number}")
        profile = (await plane.get(f"/v1/processes/{process_id}")).json()["profile"]
        assert profile["granted"]["executor_instances"] == executors
        assert why in profile["reason"]


async def test_our_own_report_address_means_no_delivery(plane: ControlPlane) -> None:
    own = await plane.accepted(callback_url="https://api.internal/v1/processes/callback")
    other = await plane.accepted(callback_url="https://example.com/hook", data_version="v2")
    assert (await plane.process(own))["callback_url"] is None
    assert (await plane.process(other))["callback_url"] == "https://example.com/hook"


async def test_what_was_accepted_comes_back_as_it_was_written(plane: ControlPlane) -> None:
    params = {"big": 1e16, "tiny": -0.0, "deep": {"z": [1.0, 2], "a": None}, "text": "ü\u2028"}
    process_id = await plane.accepted(params=params)
    (row,) = await plane.rows(select(processes.c.request).where(processes.c.id == process_id))
    assert repr(row["request"]["params"]) == repr(params)
    assert await plane.relaunched(process_id)


async def test_a_pinned_digest_must_be_the_published_one(plane: ControlPlane) -> None:
    assert (await plane.submit(action_digest="b" * 64)).json()["code"] == "action_changed"
    assert (await plane.submit(action_digest=DIGEST)).status_code == 202
