"""The place in the queue that a view tells: among the tenant's own processes, in the order of their release."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from control.releasing.release import release_once
from tests.integration.control_plane import ControlPlane
from tests.integration.worker_rows import add_process, add_tenant, set_columns
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


async def test_the_position_counts_ones_own_processes_in_release_order(plane: ControlPlane) -> None:
    await add_tenant(plane.db, "other")
    for _ in range(3):
        await add_process(plane.db, tenant_id="other", priority=9)
    low, first, urgent, later, resting = [
        await plane.accepted(data_version=f"v{number}", priority=priority)
        for number, priority in enumerate((-5, 0, 5, 0, 9))
    ]
    await set_columns(plane.db, resting, not_before=func.now() + timedelta(hours=1))

    async def position(process_id: object) -> int:
        told: int = (await plane.get(f"/v1/processes/{process_id}")).json()["blocked_by"]["position"]
        return told

    assert [await position(each) for each in (urgent, first, later, low)] == [0, 1, 2, 3]
    log = MemoryLog()
    await release_once(plane.db, log, plane.settings.model_copy(update={"max_in_flight": 2}))
    assert (await plane.process(urgent))["released_at"] is not None
    assert await position(first) == 0
    assert await position(later) == 1
