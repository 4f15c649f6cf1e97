"""Chosen entities become processes, a window at a time, each once, whatever is paused, cancelled or raced."""

import asyncio

import pytest
from sqlalchemy import delete

from control.backfills import expansion, turns
from control.backfills.counts import keep_counts
from control.backfills.tables import backfill_entities
from control.reconciling.reconciler import Reconciler
from control.releasing.release import release_once
from control.tables import process_events, processes
from tests.integration.backfilling import count, create, expand, expander, shown, steer
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import Caller, make_tenant
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


async def test_what_is_published_or_computed_is_skipped_and_what_is_refused_is_told(acme: Caller) -> None:
    plane, other = acme.plane, await make_tenant(acme.plane, "globex")
    await acme.submit("active")
    await other.submit("theirs")
    submitted = await acme.submit("done")
    await plane.succeed_at(submitted, place(entity_id="done"), "acme")
    made = await create(acme, entities=["active", "done", "new", "theirs"])
    await expand(plane)
    found = await shown(acme, made)
    assert (found["looked_at"], found["skipped"], found["refused"]) == (4, 2, 1)
    assert found["last_refusal"].startswith("theirs: not_found")
    assert found["processes"] == {"accepted": 1}


async def test_only_a_window_waits_and_the_rest_follows_as_it_empties(
    acme: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WINDOW", 10)
    plane, log = acme.plane, MemoryLog()
    made = await create(acme, entities=[f"e-{number:03}" for number in range(25)])
    assert await expand(plane) == 10
    assert await release_once(plane.db, log, plane.settings) == 10
    assert await expand(plane) == 10
    assert (await shown(acme, made))["state"] == "expanding"
    assert await release_once(plane.db, log, plane.settings) == 10
    assert await expand(plane) == 5
    assert (await shown(acme, made))["state"] == "expanded"
    assert await count(plane) == 25


async def test_a_tenant_whose_backlog_is_full_waits_and_loses_nothing(plane: ControlPlane) -> None:
    caller, log = await make_tenant(plane, "small", backlog=3), MemoryLog()
    made = await create(caller, entities=[f"e-{number}" for number in range(5)])
    assert await expand(plane) == 3
    found = await shown(caller, made)
    assert (found["state"], found["looked_at"], found["refused"]) == ("expanding", 3, 0)
    await release_once(plane.db, log, plane.settings)
    assert await expand(plane) == 2
    assert (await shown(caller, made))["state"] == "expanded"


async def test_a_paused_backfill_makes_and_releases_nothing(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "CHUNK", 2)
    plane, log = acme.plane, MemoryLog()
    made = await create(acme, entities=["a", "b", "c", "d"])
    await expander(plane).step()
    assert (await steer(acme, made, "pause"))["state"] == "paused"
    assert (await steer(acme, made, "pause"))["state"] == "paused"
    assert await expand(plane) == 0
    assert await release_once(plane.db, log, plane.settings) == 0
    single = await acme.submit("single")
    assert (await acme.get(single.headers["location"])).json()["blocked_by"]["position"] == 0
    assert await release_once(plane.db, log, plane.settings) == 1
    assert (await steer(acme, made, "resume"))["state"] == "expanding"
    assert await expand(plane) == 2
    assert await release_once(plane.db, log, plane.settings) == 4
    assert (await steer(acme, made, "pause"))["state"] == "paused"  # what waits can wait longer
    assert (await steer(acme, made, "resume"))["state"] == "expanding"
    await expand(plane)
    assert (await shown(acme, made))["state"] == "expanded"


async def test_a_cancelled_backfill_ends_what_has_not_ended(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "CHUNK", 2)
    monkeypatch.setattr(expansion, "FORGOTTEN_AT_ONCE", 2)
    plane = acme.plane
    made = await create(acme, entities=[f"e-{number}" for number in range(9)])
    await expander(plane).step()
    await expander(plane).step()
    assert (await steer(acme, made, "cancel"))["state"] == "cancelling"
    await expand(plane)
    await Reconciler(plane.db, plane.lake, None, plane.settings).reconcile()
    await expand(plane)
    found = await shown(acme, made)
    assert (found["state"], found["processes"]) == ("cancelled", {"cancelled": 4})
    assert await count(plane, backfill_entities) == 0
    assert (await steer(acme, made, "cancel"))["state"] == "cancelled"
    assert (await steer(acme, made, "resume", 409))["state"] == "cancelled"


async def test_workers_that_race_make_each_process_once(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "CHUNK", 7)
    plane = acme.plane
    made = await create(acme, entities=[f"e-{number:03}" for number in range(60)])
    await asyncio.gather(*(expand(plane) for _ in range(4)))
    await expand(plane)
    found = await shown(acme, made)
    assert (found["looked_at"], found["skipped"], found["processes"]) == (60, 0, {"accepted": 60})


async def test_what_became_of_an_ended_backfill_is_kept(acme: Caller) -> None:
    plane = acme.plane
    made = await create(acme, entities=["a", "b"])
    await expand(plane)
    assert await keep_counts(plane.db) == 0  # nothing has ended
    listed = (await acme.get(f"/v1/processes?backfill_id={made['backfill_id']}")).json()["processes"]
    for each in listed:
        await acme.post(f"/v1/processes/{each['process_id']}:cancel")
    assert await keep_counts(plane.db) == 1
    assert await keep_counts(plane.db) == 0
    async with plane.db.transaction() as conn:
        await conn.execute(delete(process_events))
        await conn.execute(delete(processes))
    assert (await shown(acme, made))["processes"] == {"cancelled": 2}
