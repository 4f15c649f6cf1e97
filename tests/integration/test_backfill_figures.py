"""How the processes of a backfill ended is kept, whatever retention takes away."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from contracts.states import State
from control.backfills import turns
from control.backfills.counts import keep_counts
from control.backfills.tables import backfills
from control.releasing.release import release_once
from control.retention import Pruner
from control.tables import processes
from tests.fake_dagster import FakeGraphQL
from tests.integration.backfilling import count, create, end, expand, shown, steer
from tests.integration.control_plane import ControlPlane
from tests.integration.tenant import Caller
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
LONG_AGO = timedelta(days=91)


async def age(plane: ControlPlane, entity_id: str) -> None:
    """Let what has ended there have ended long ago."""
    async with plane.db.transaction() as conn:
        row = update(processes).where(processes.c.entity_id == entity_id)
        await conn.execute(row.values(finished_at=func.now() - LONG_AGO))


def pruner(plane: ControlPlane) -> Pruner:
    return Pruner(plane.db, plane.settings, None, FakeGraphQL())


async def test_a_backfill_that_is_being_steered_is_counted_later(acme: Caller) -> None:
    plane = acme.plane
    made = await create(acme, entities=["a"])
    await expand(plane)
    await end(plane, {"a": State.FAILED})
    async with plane.db.transaction() as conn:
        await conn.execute(select(backfills.c.id).where(backfills.c.id == made["backfill_id"]).with_for_update())
        assert await keep_counts(plane.db) == 0
    assert await keep_counts(plane.db) == 1


async def test_a_paused_backfill_keeps_its_figures_as_retention_takes_its_processes(
    acme: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WINDOW", 3)
    plane = acme.plane
    made = await create(acme, entities=["a", "b", "c", "d"])
    await expand(plane)
    await release_once(plane.db, MemoryLog(), plane.settings)
    await steer(acme, made, "pause")
    figures: dict[str, Any] = {"succeeded": 2, "failed": 1}
    await end(plane, {"a": State.SUCCEEDED, "b": State.FAILED}, LONG_AGO)
    await end(plane, {"c": State.SUCCEEDED})
    assert await pruner(plane).step() == 2
    assert (await shown(acme, made))["processes"] == figures
    await age(plane, "c")
    assert await pruner(plane).step() == 1
    assert (await shown(acme, made))["processes"] == figures
    await steer(acme, made, "resume")
    await expand(plane)
    assert (await shown(acme, made))["processes"] == {**figures, "accepted": 1}
    await end(plane, {"d": State.EXPIRED}, LONG_AGO)
    assert await keep_counts(plane.db) == 1
    assert await pruner(plane).step() == 1
    assert await count(plane) == 0
    assert (await shown(acme, made))["processes"] == {**figures, "expired": 1}
