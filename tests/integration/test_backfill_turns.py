"""Whose backfill is worked on next: one tenant's backfills, full, long or slow, do not keep the others waiting."""

import threading
from typing import Any

import pytest

from control.accepting.inputs import InputCheck
from control.backfills import expansion, turns
from control.backfills.expansion import PLANNED_AT_ONCE, Expander
from tests.integration.backfilling import create, expander, shown
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import MemoryLake
from tests.integration.tenant import make_tenant

pytestmark = pytest.mark.anyio
REFINE = {"action": "refine", "data_version": "v1", "params": {"day": "monday"}}


@pytest.mark.parametrize("limits", [{}, {"backlog": 2}])
async def test_backfills_without_room_have_no_turn(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any]
) -> None:
    monkeypatch.setattr(turns, "WINDOW", 1 if not limits else 1000)
    busy, quiet = await make_tenant(plane, "busy", **limits), await make_tenant(plane, "quiet")
    for number in range(5):
        await create(busy, entities=[f"a-{number}", f"b-{number}"])
    worker = expander(plane)
    while await worker.step():
        pass
    alone = await create(quiet, entities=["alone"])
    assert await worker.step() == 1
    assert (await shown(quiet, alone))["looked_at"] == 1
    assert await worker.step() == 0


async def test_the_tenant_that_waited_longest_goes_first(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "CHUNK", 1)
    busy, quiet = await make_tenant(plane, "busy"), await make_tenant(plane, "quiet")
    many = [await create(busy, entities=[f"a-{number}", f"b-{number}"]) for number in range(5)]
    worker = expander(plane)
    assert await worker.step() == 1
    mine = await create(quiet, entities=["x", "y"])
    for _ in range(4):
        assert await worker.step() == 1
    assert (await shown(quiet, mine))["looked_at"] == 2  # every other turn
    assert [(await shown(busy, each))["looked_at"] for each in many] == [1, 1, 1, 0, 0]  # one after the other


class SlowLake(MemoryLake):
    """Answers when two ask at the same time; counts how many do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._count, self._pairs = threading.Lock(), threading.Barrier(2)

    def get(self, key: str) -> bytes | None:
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self._pairs.wait(5)
            return super().get(key)
        finally:
            with self._count:
                self.now -= 1


async def test_a_slow_lake_is_asked_by_several_and_not_for_long(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, lake = await make_tenant(plane, "acme"), SlowLake()
    made = await create(caller, REFINE, entities=[f"e-{number:02}" for number in range(4 * PLANNED_AT_ONCE)])
    worker = Expander(plane.db, lake, InputCheck(plane.db, lake), plane.settings)
    monkeypatch.setattr(expansion, "PLAN_SECONDS", 0)
    assert await worker.step() == PLANNED_AT_ONCE
    monkeypatch.undo()
    assert await worker.step() == 3 * PLANNED_AT_ONCE
    found = await shown(caller, made)
    assert (found["state"], found["refused"]) == ("expanded", 4 * PLANNED_AT_ONCE)
    assert 2 <= lake.most <= PLANNED_AT_ONCE
