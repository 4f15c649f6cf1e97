"""Many submissions in one call: each is judged alone, and all of them within a moment."""

import asyncio
import random
from itertools import islice, product
from string import ascii_letters
from time import monotonic
from typing import Any

import httpx
import pytest

from contracts.messages import MAX_BATCH
from control.tables import idempotency_keys, outbox, processes
from tests.integration.control_plane import SUBMIT, ControlPlane

pytestmark = pytest.mark.anyio


def items(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**SUBMIT, "entity_id": f"e-{number:04d}", **changes} for number in range(count)]


async def batch(plane: ControlPlane, *submitted: Any) -> httpx.Response:
    return await plane.post("/v1/processes:batch", body={"processes": list(submitted)})


def statuses(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [result["status"] for result in answer.json()["results"]]


async def test_one_key_for_all_is_refused(plane: ControlPlane) -> None:
    keyed = {**plane.auth(), "Idempotency-Key": "all"}
    answer = await plane.post("/v1/processes:batch", keyed, {"processes": items(2)})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
    assert await plane.rows(processes) == []


async def test_each_is_accepted_or_refused_alone_and_answered_in_its_place(plane: ControlPlane) -> None:
    await plane.submit(entity_id="taken")
    first, second, third = items(3)
    answer = await batch(
        plane,
        third,
        {**SUBMIT, "entity_id": "../etc"},
        "no object",
        {**first, "action": "nothing"},
        {**SUBMIT, "entity_id": "taken"},
        {**second, "tenant": "other"},
        first,
        first,
    )
    assert statuses(answer) == [202, 422, 422, 422, 409, 422, 202, 409]
    results = answer.json()["results"]
    codes = [result["problem"] and result["problem"]["code"] for result in results]
    assert codes == [
        None,
        "validation_failed",
        "validation_failed",
        "unknown_action",
        "process_active",
        "validation_failed",
        None,
        "process_active",
    ]
    assert results[1]["problem"]["errors"][0]["field"] == "entity_id"
    assert results[7]["problem"]["process_id"] == results[6]["process"]["process_id"]
    assert {row["entity_id"] for row in await plane.rows(processes)} == {"taken", "e-0000", "e-0002"}
    assert len(await plane.rows(outbox)) == 3


async def test_a_batch_that_is_repeated_with_its_keys_makes_nothing_new(plane: ControlPlane) -> None:
    keyed = [{**item, "idempotency_key": f"k-{item['entity_id']}"} for item in items(5)]
    answers = await asyncio.gather(*(batch(plane, *random.sample(keyed, 5)) for _ in range(6)))
    assert {status for answer in answers for status in statuses(answer)} == {202}
    accepted = [result["process"] for answer in answers for result in answer.json()["results"]]
    assert len({process["process_id"] for process in accepted}) == 5
    assert len(await plane.rows(processes)) == len(await plane.rows(idempotency_keys)) == 5
    changed = {**keyed[0], "priority": 5}
    assert (await batch(plane, changed)).json()["results"][0]["problem"]["code"] == "idempotency_key_reused"
    single = await plane.submit({"Idempotency-Key": keyed[0]["idempotency_key"]}, entity_id=keyed[0]["entity_id"])
    assert single.status_code == 202
    assert single.headers["idempotency-replayed"] == "true"


async def test_batches_that_meet_do_not_wait_for_each_other_in_a_circle(plane: ControlPlane) -> None:
    many = items(120)
    answers = await asyncio.gather(*(batch(plane, *random.sample(many, len(many))) for _ in range(4)))
    found = [status for answer in answers for status in statuses(answer)]
    assert (found.count(202), found.count(409)) == (120, 360)
    assert len(await plane.rows(processes)) == 120


async def test_a_full_batch_is_accepted_whole(plane: ControlPlane) -> None:
    assert set(statuses(await batch(plane, *items(MAX_BATCH)))) == {202}
    assert len(await plane.rows(outbox)) == MAX_BATCH


@pytest.mark.parametrize(
    "body", [{"processes": []}, {"processes": items(MAX_BATCH + 1)}, {"processes": "x"}, {}, {"jobs": [{}]}]
)
async def test_what_is_no_batch_is_refused_whole(plane: ControlPlane, body: dict[str, Any]) -> None:
    answer = await plane.post("/v1/processes:batch", body=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert await plane.rows(processes) == []


async def test_others_are_served_while_many_broken_items_are_judged(plane: ControlPlane) -> None:
    unknown = dict.fromkeys(("".join(letters) for letters in islice(product(ascii_letters, repeat=3), 500)), 1)
    submit = asyncio.create_task(batch(plane, *[unknown] * MAX_BATCH))
    longest, began, last = 0.0, monotonic(), monotonic()
    while not submit.done():
        await asyncio.sleep(0)
        longest, last = max(longest, monotonic() - last), monotonic()
    answer = await submit
    assert set(statuses(answer)) == {422}
    assert len(answer.content) < 4_000 * MAX_BATCH
    assert longest < (last - began) / 3


async def test_what_is_published_is_refused_in_a_batch_too(plane: ControlPlane) -> None:
    submitted = await plane.submit()
    await plane.succeed(submitted)
    (result,) = (await batch(plane, SUBMIT)).json()["results"]
    assert (result["status"], result["problem"]["code"]) == (409, "version_already_published")
