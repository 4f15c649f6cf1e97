"""Backfills: which entities are chosen, what is refused at once, and what a caller is shown."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from control.backfills.tables import backfills
from control.tables import snapshots
from tests.integration.backfilling import INGEST, count, create, expand, shown
from tests.integration.memory_lake import place
from tests.integration.tenant import Caller, make_tenant

pytestmark = pytest.mark.anyio
REFINE: dict[str, Any] = {"action": "refine", "data_version": "v1", "params": {"day": "monday"}}


async def test_a_list_of_entities_becomes_processes_of_the_backfill(acme: Caller) -> None:
    made = await create(
        acme, {**INGEST, "priority": 2, "callback_url": "https://example.com/hook"}, entities=["b", "a", "b"]
    )
    assert (made["state"], made["entities"], made["looked_at"]) == ("expanding", 2, 0)
    assert await expand(acme.plane) == 2
    found = await shown(acme, made)
    assert (found["state"], found["looked_at"], found["processes"]) == ("expanded", 2, {"accepted": 2})
    listed = (await acme.get(f"/v1/processes?backfill_id={made['backfill_id']}")).json()["processes"]
    assert sorted((each["entity_id"], each["priority"]) for each in listed) == [("a", 2), ("b", 2)]
    assert (await acme.get(f"/v1/processes?backfill_id={uuid4()}")).json()["processes"] == []


async def test_a_pattern_chooses_among_ones_own_entities(acme: Caller) -> None:
    other = await make_tenant(acme.plane, "globex")
    for entity in ("shop-1", "shop-2", "shop_3", "store-1"):
        await acme.submit(entity, data_version="v0")
    await other.submit("shop-9", data_version="v0")
    preview = await acme.post("/v1/backfills?dry_run=true", {**INGEST, "select": {"pattern": "shop-?"}})
    assert preview.json() == {"entities": 2, "published": 0, "sample": ["shop-1", "shop-2"]}
    assert await count(acme.plane, backfills) == 0
    assert (await create(acme, pattern="shop_*"))["entities"] == 1  # an underscore is itself


async def test_every_entity_with_the_inputs_of_the_action(acme: Caller) -> None:
    plane = acme.plane
    for entity, version in (("e-1", "v1"), ("e-2", "v1"), ("e-3", "v2")):
        submitted = await acme.submit(entity, data_version=version)
        await plane.succeed_at(submitted, place(entity_id=entity, data_version=version), "acme")
    async with plane.db.transaction() as conn:
        await conn.execute(text("UPDATE snapshots SET retired_at = now() WHERE entity_id = 'e-2'"))
    made = await create(acme, REFINE, with_inputs=True)
    assert made["entities"] == 1
    await expand(plane)
    assert (await shown(acme, made))["processes"] == {"accepted": 1}
    refused = await acme.post("/v1/backfills", {**INGEST, "select": {"with_inputs": True}})
    assert refused.json()["errors"][0]["field"] == "select.with_inputs"
    assert await count(plane, snapshots) == 3


async def test_the_same_key_is_the_same_backfill(acme: Caller) -> None:
    asked = {**INGEST, "idempotency_key": "nightly-v1"}
    first = await create(acme, asked, entities=["a"])
    await expand(acme.plane)
    again = await create(acme, {**asked, "priority": -1}, 200, entities=["a"])
    assert (again["backfill_id"], again["looked_at"]) == (first["backfill_id"], 1)
    assert (await create(acme, asked, 422, entities=["a", "b"]))["code"] == "idempotency_key_reused"
    other = await make_tenant(acme.plane, "globex")
    assert (await create(other, asked, entities=["g"]))["backfill_id"] != first["backfill_id"]
    assert await count(acme.plane) == 1


async def test_the_key_may_stand_in_the_header(acme: Caller) -> None:
    asked = {**INGEST, "select": {"entities": ["a"]}}
    keyed = {**acme.headers, "Idempotency-Key": "nightly-v1"}
    first, again = [await acme.plane.post("/v1/backfills", keyed, asked) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    in_body = await create(acme, {**INGEST, "idempotency_key": "nightly-v1"}, 200, entities=["a"])
    assert first.json()["backfill_id"] == again.json()["backfill_id"] == in_body["backfill_id"]
    torn = await acme.plane.post("/v1/backfills", keyed, {**asked, "idempotency_key": "other"})
    assert (torn.status_code, torn.json()["code"]) == (400, "invalid_idempotency_key")
    assert await count(acme.plane, backfills) == 1


async def test_what_would_be_refused_for_every_entity_is_refused_at_once(acme: Caller) -> None:
    other = await make_tenant(acme.plane, "small", profile={"executor_instances": 0})
    wrong: list[tuple[Caller, dict[str, Any], str]] = [
        (acme, {"action": "no"}, "unknown_action"),
        (acme, {"callback_url": "https://10.0.0.1/"}, "callback_forbidden"),
        (acme, {"callback_url": "https://example.com/\n"}, "validation_failed"),
        (acme, {"params": {"n": "x" * 70_000}}, "validation_failed"),
        (acme, {"resource_profile": "no"}, "validation_failed"),
        (acme, {"action": "refine"}, "validation_failed"),
        (other, {}, "validation_failed"),
    ]
    for caller, changes, code in wrong:
        for query in ("", "?dry_run=true"):
            answer = await caller.post(f"/v1/backfills{query}", {**INGEST, "select": {"entities": ["a"]}, **changes})
            assert answer.json().get("code") == code, (changes, answer.text)
    assert await count(acme.plane, backfills) == 0


async def test_a_preview_counts_nothing_of_others(acme: Caller) -> None:
    plane, other = acme.plane, await make_tenant(acme.plane, "globex")
    for caller, entity in ((acme, "mine"), (other, "theirs")):
        submitted = await caller.submit(entity)
        await plane.succeed_at(submitted, place(entity_id=entity), caller.id)
    body = {**INGEST, "select": {"entities": ["mine", "theirs", "nobodys"]}}
    assert (await acme.post("/v1/backfills?dry_run=true", body)).json()["published"] == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"select": {}}, "select"),
        ({"select": {"entities": []}}, "select.entities"),
        ({"select": {"entities": ["a"], "pattern": "*"}}, "select"),
        ({"select": {"with_inputs": False}}, "select"),
        ({"select": {"pattern": "a b"}}, "select.pattern"),
        ({"select": {"entities": ["../x"]}}, "select.entities.0"),
        ({"priority": 11}, "priority"),
        ({"entities": ["a"]}, "entities"),
    ],
)
async def test_what_is_no_backfill_is_refused(acme: Caller, changes: dict[str, Any], field: str) -> None:
    answer = await acme.post("/v1/backfills", {**INGEST, "select": {"pattern": "*"}, **changes})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert await count(acme.plane, backfills) == 0


async def test_pages_of_ones_own(acme: Caller) -> None:
    other = await make_tenant(acme.plane, "globex")
    made = [(await create(acme, entities=[f"e-{number}"]))["backfill_id"] for number in range(5)]
    await create(other, entities=["g"])
    found, query = [], "?limit=2"
    while query:
        page = (await acme.get(f"/v1/backfills{query}")).json()
        found += [each["backfill_id"] for each in page["backfills"]]
        query = page["next_cursor"] and f"?limit=2&cursor={page['next_cursor']}"
    assert found == made[::-1]
    lost = await other.get(f"/v1/backfills?cursor={made[0]}")
    assert (lost.status_code, lost.json()["errors"][0]["field"]) == (422, "cursor")
