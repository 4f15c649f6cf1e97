"""An attempt that ran out of memory is followed by one with more, as far as there is more."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tests.integration.control_plane import CATALOGUE, ControlPlane

pytestmark = pytest.mark.anyio
PROFILES: dict[str, Any] = {
    "small": {"driver_memory": "1g", "executor_instances": 0},
    "medium": {"driver_memory": "2g", "executor_instances": 2, "executor_memory": "4g"},
    "large": {"driver_memory": "4g", "executor_instances": 8, "executor_memory": "16g"},
}
CLIMBED = "the profile {!r}: the attempt before ran out of memory"
AS_IT_WAS = "; the attempt before ran out of memory, and no published profile has more"


@pytest.fixture
async def mill(plane: ControlPlane) -> ControlPlane:
    """The control plane with three profiles published."""
    assert (await plane.publish({**CATALOGUE, "profiles": PROFILES})).status_code == 204
    return plane


async def out_of_memory(plane: ControlPlane, process_id: UUID, attempt: int = 1) -> None:
    answers = await asyncio.gather(
        *(plane.failed(process_id, "out_of_memory", attempt=attempt, run_id=f"run-{attempt}") for _ in range(3))
    )
    assert {answer.status_code for answer in answers} == {200}


async def restarted(plane: ControlPlane, process_id: UUID, attempt: int) -> dict[str, Any]:
    """Launch and start the next attempt; return the profile that its run is given."""
    launch_id = await plane.relaunched(process_id)
    (member,) = (await plane.members(launch_id)).json()["members"]
    assert member["attempt"] == attempt
    assert (await plane.report(process_id, "started", attempt=attempt, run_id=f"run-{attempt}")).status_code == 200
    profile: dict[str, Any] = member["profile"]
    return profile


async def shown(plane: ControlPlane, process_id: UUID) -> dict[str, Any]:
    profile: dict[str, Any] = (await plane.get(f"/v1/processes/{process_id}")).json()["profile"]
    return profile


async def test_each_next_attempt_has_the_memory_of_the_next_larger_profile_and_says_why(mill: ControlPlane) -> None:
    process_id = await mill.running()
    asked_for = (await shown(mill, process_id))["requested"]
    for attempt, name in ((2, "medium"), (3, "large")):
        await out_of_memory(mill, process_id, attempt - 1)
        found = await shown(mill, process_id)
        assert (found["requested"], found["reason"]) == (asked_for, CLIMBED.format(name))
        grown = {**PROFILES["small"], **{heap: PROFILES[name][heap] for heap in ("driver_memory", "executor_memory")}}
        assert (await restarted(mill, process_id, attempt)).items() >= grown.items()
    await out_of_memory(mill, process_id, 3)
    row = await mill.process(process_id)
    assert (row["state"], row["reason"]["code"]) == ("failed", "out_of_memory")


async def test_the_largest_profile_stays(mill: ControlPlane) -> None:
    process_id = await mill.running(resource_profile="large")
    before = await shown(mill, process_id)
    await out_of_memory(mill, process_id)
    assert await shown(mill, process_id) == before | {"reason": f"{before['reason']}{AS_IT_WAS}"}
    assert (await restarted(mill, process_id, 2)).items() >= PROFILES["large"].items()


async def test_another_failure_changes_no_profile(mill: ControlPlane) -> None:
    process_id = await mill.running()
    before = await shown(mill, process_id)
    await mill.failed(process_id, "pod_evicted")
    assert (await mill.process(process_id))["attempt"] == 2
    assert await shown(mill, process_id) == before


async def test_what_is_withdrawn_is_not_climbed_to(mill: ControlPlane) -> None:
    process_id = await mill.running()
    assert (await mill.publish({**CATALOGUE, "profiles": {"small": PROFILES["small"]}})).status_code == 204
    before = await shown(mill, process_id)
    await out_of_memory(mill, process_id)
    assert await shown(mill, process_id) == before | {"reason": f"{before['reason']}{AS_IT_WAS}"}
