"""What a process is granted, seen through the API: by the size of its input, and by what earlier runs used."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.app import create_app
from control.accepting.history import REMEMBER_SECONDS, History
from control.rules.sizing import Past
from tests.integration.control_plane import CATALOGUE, PROFILE, ControlPlane
from tests.integration.memory_lake import place

pytestmark = pytest.mark.anyio

GB = 1000**3
USED: dict[str, Any] = {"input_bytes": GB, "granted": PROFILE, "driver_peak_heap_bytes": 3e8}
GRANTED: dict[str, Any] = {**PROFILE, "executor_instances": 8}
REFINE: dict[str, Any] = {"action": "refine", "params": {"day": "d"}}


async def profile_of(plane: ControlPlane, process_id: UUID) -> dict[str, Any]:
    profile: dict[str, Any] = (await plane.get(f"/v1/processes/{process_id}")).json()["profile"]
    return profile


async def test_the_size_of_the_input_is_told_and_what_is_enough_stays(plane: ControlPlane) -> None:
    plane.lake.size = GB
    plane.lake.commit(place(), None)
    found = await profile_of(plane, await plane.accepted(**REFINE))
    assert found["granted"]["executor_instances"] == 1
    assert found["reason"] == (
        "the action's own profile, 'small': enough for 1 GB of input, which want 1 GB of heap at weight 1"
    )
    elsewhere = {"raw": {"entity_id": "cust_8842", "data_version": "v1"}}
    shown = await plane.submit(query="?dry_run=true", data_version="v2", inputs=elsewhere, **REFINE)
    assert shown.json()["profile"] == found


async def test_the_weight_of_the_action_raises_it(plane: ControlPlane) -> None:
    actions = [{**entry, "weight": 4.0} for entry in CATALOGUE["actions"]]
    assert (await plane.publish({**CATALOGUE, "actions": actions})).status_code == 204
    plane.lake.size = GB
    plane.lake.commit(place(), None)
    found = await profile_of(plane, await plane.accepted(**REFINE))
    assert found["granted"]["executor_instances"] == 8
    assert found["reason"] == (
        "raised to the profile 'large' from the action's own profile, 'small': "
        "1 GB of input, which want 4 GB of heap at weight 4"
    )


async def test_an_input_of_unknown_size_raises_nothing_and_is_named(plane: ControlPlane) -> None:
    plane.lake.is_down = True
    profile = await profile_of(plane, await plane.accepted(**REFINE))
    assert profile["reason"] == (
        "the action's own profile, 'small'; not counted, because the lake did not tell its size: raw"
    )


async def test_what_a_successful_run_used_is_known_within_a_minute(plane: ControlPlane) -> None:
    now = 1000.0
    history = History(plane.db, clock=lambda: now)
    assert await history.of("default", "ingest", "cust_8842") == ()
    process_id = await plane.running()
    plane.lake.used = USED
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    assert await history.of("default", "ingest", "cust_8842") == ()
    now += REMEMBER_SECONDS
    assert await history.of("default", "ingest", "cust_8842") == (Past(GB, 3e8, 0.0, is_own=True),)
    assert await history.of("default", "ingest", "cust_1") == (Past(GB, 3e8, 0.0),)
    assert await history.of("somebody", "ingest", "cust_8842") == ()


async def test_what_ran_out_of_memory_is_known_however_many_other_entities_came_since(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.failed(process_id, "out_of_memory")
    await plane.relaunched(process_id)
    await plane.report(process_id, "started", attempt=2, run_id="run-2")
    plane.lake.used = USED
    plane.lake.commit(place(), process_id, attempt=2)
    await plane.report(process_id, "succeeded", attempt=2, run_id="run-2")
    plane.lake.used = USED | {"driver_peak_heap_bytes": 1e8}
    for number in range(21):
        other = await plane.running(run_id=f"run-of-{number}", entity_id=f"cust_{number}")
        plane.lake.commit(replace(place(), entity_id=f"cust_{number}"), other)
        await plane.report(other, "succeeded", run_id=f"run-of-{number}")
    *newest, first = await History(plane.db).of("default", "ingest", "cust_8842")
    assert first == Past(GB, 3e8, 0.0, is_own=True, was_short=True)
    assert newest == [Past(GB, 1e8, 0.0)] * 20


async def test_an_action_that_reads_deliveries_only_starts_where_the_last_run_for_the_entity_ended(
    plane: ControlPlane,
) -> None:
    process_id = await plane.running()
    plane.lake.used = USED | {"granted": GRANTED, "executors": 8, "executor_peak_heap_bytes": 5e8}
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    app = create_app(settings=plane.settings, db=plane.db, lake=plane.lake)  # one that has not looked yet
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        http.base_url = plane.http.base_url
        plane.http = http
        found = await profile_of(plane, await plane.accepted(data_version="v2"))
        other = await profile_of(plane, await plane.accepted(entity_id="cust_1"))
    assert found["granted"]["executor_instances"] == 8
    assert found["reason"] == (
        "raised to the profile 'large' from the action's own profile, 'small': 1 GB of input, as much as an earlier "
        "run for this entity has read, which want 4 GB of heap and 0 core seconds by what 1 earlier run used"
    )
    assert other["reason"] == (
        "the action's own profile, 'small'; it reads no snapshot whose size is known before the run"
    )


async def test_a_run_that_said_nothing_of_itself_is_no_history(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    assert await History(plane.db).of("default", "ingest", "cust_8842") == ()
