"""Who did it stands beside what was done: the key that asked, in the events of a process and in the admin log."""

import asyncio
from copy import deepcopy
from typing import Any

import pytest
from sqlalchemy import RowMapping, select

from contracts.states import State
from control.tables import process_events
from control.tenancy.tables import admin_log
from tests.integration.belongings import one_of_each
from tests.integration.control_plane import CATALOGUE, SUBMIT, ControlPlane
from tests.integration.memory_lake import DIGEST
from tests.integration.tenant import Caller

pytestmark = pytest.mark.anyio


async def log_of(plane: ControlPlane, *kinds: str) -> list[RowMapping]:
    return await plane.rows(select(admin_log).where(admin_log.c.kind.in_(kinds)).order_by(admin_log.c.id))


async def test_what_a_caller_does_to_a_process_is_noted_with_its_key(acme: Caller) -> None:
    has = await one_of_each(acme, "acme-1", "a note", "hook")
    same: dict[str, Any] = {"data_version": State.RUNNING.value, "params": {"note": "a note"}}
    answers = [
        await acme.post(f"/v1/processes/{has.processes[State.QUEUED]}:cancel"),
        await acme.post(f"/v1/processes/{has.processes[State.FAILED]}:retry"),
        await acme.post(f"/v1/processes/{has.processes[State.FAILED]}/callbacks:redeliver"),
        await acme.post("/v1/processes:batch", {"processes": [{**SUBMIT, "entity_id": "acme-2"}]}),
        await acme.submit("acme-1", "?on_conflict=use_existing", **same, callback_url="https://example.com/hook"),
    ]
    assert [answer.status_code for answer in answers] == [200, 202, 202, 200, 200]
    asked = {"accepted", "cancelled", "subscribed", "callback_repeated"}
    told = {(row["kind"], row["actor"]) for row in await acme.plane.rows(process_events) if row["kind"] in asked}
    assert told == {(kind, acme.actor) for kind in asked}


async def test_what_a_caller_does_about_a_backfill_is_noted_once(acme: Caller) -> None:
    body: dict[str, Any] = {"action": "ingest", "data_version": "v1", "select": {"entities": ["e-1"]}}
    for _ in range(2):
        made = await acme.post("/v1/backfills", {**body, "idempotency_key": "nightly"})
    backfill_id = made.json()["backfill_id"]
    for verb in ("pause", "pause", "resume", "resume", "cancel", "cancel"):
        assert (await acme.post(f"/v1/backfills/{backfill_id}:{verb}")).status_code == 200
    kinds = [f"backfill_{done}" for done in ("created", "paused", "resumed", "cancelled")]
    lines = await log_of(acme.plane, *kinds)
    assert [line["kind"] for line in lines] == kinds
    assert {(line["actor"], line["tenant_id"], line["detail"]["backfill_id"]) for line in lines} == {
        (acme.actor, "acme", backfill_id)
    }


async def test_another_catalogue_is_noted_and_the_same_one_is_not(plane: ControlPlane) -> None:
    changed = deepcopy(CATALOGUE)
    changed["actions"][0]["digest"] = "b" * 64
    del changed["actions"][1], changed["profiles"]["large"]
    await asyncio.gather(*(plane.publish(changed) for _ in range(3)))
    first, second = await log_of(plane, "catalogue_published")
    assert first["detail"] == {
        "actions": {"ingest": DIGEST, "refine": DIGEST},
        "withdrawn": [],
        "profiles": ["large", "small"],
    }
    assert second["detail"] == {"actions": {"ingest": "b" * 64}, "withdrawn": ["refine"], "profiles": ["large"]}
    assert {first["actor"], second["actor"]} == {"code-location"}
