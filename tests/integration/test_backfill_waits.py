"""Backfills whose action is not published: they wait until it is, visibly, and lose nothing."""

from typing import Any

import pytest

from contracts.identity import Coordinate
from contracts.reports import ActionEntry
from contracts.tenancy import Tenant
from control.accepting.inputs import InputCheck
from control.backfills.expansion import PLANNED_AT_ONCE, Expander
from control.rules.sizing import Evidence
from tests.integration.backfilling import create, expand, expander, shown, steer
from tests.integration.control_plane import WITHOUT_INGEST, ControlPlane
from tests.integration.tenant import Caller, make_tenant

pytestmark = pytest.mark.anyio
REFINE: dict[str, Any] = {"action": "refine", "data_version": "v1", "params": {"day": "monday"}}


async def test_a_gap_in_the_catalogue_refuses_nothing(acme: Caller) -> None:
    plane = acme.plane
    made = await create(acme, entities=["a", "b", "c"])
    await plane.publish(WITHOUT_INGEST)
    assert await expand(plane) == 0
    found = await shown(acme, made)
    assert (found["state"], found["looked_at"], found["refused"]) == ("expanding", 0, 0)
    assert found["last_refusal"].startswith("unknown_action: no action 'ingest' is published")
    (listed,) = (await acme.get("/v1/backfills")).json()["backfills"]
    assert listed == found
    await plane.publish()
    assert await expand(plane) == 3
    found = await shown(acme, made)
    assert (found["state"], found["refused"], found["last_refusal"]) == ("expanded", 0, None)
    assert found["processes"] == {"accepted": 3}


async def test_what_waits_for_its_action_can_be_cancelled(acme: Caller) -> None:
    made = await create(acme, entities=["a"])
    await acme.plane.publish(WITHOUT_INGEST)
    await steer(acme, made, "cancel")
    await expand(acme.plane)
    found = await shown(acme, made)
    assert (found["state"], found["last_refusal"]) == ("cancelled", None)


async def test_what_waits_for_its_action_keeps_no_other_from_its_turn(acme: Caller) -> None:
    plane, other = acme.plane, await make_tenant(acme.plane, "globex")
    for number in range(3):
        await create(acme, entities=[f"a-{number}"])
    await plane.publish(WITHOUT_INGEST)
    made = [await create(caller, REFINE, entities=[entity]) for caller, entity in ((acme, "x"), (other, "y"))]
    worker = expander(plane)
    assert [await worker.step() for _ in range(3)] == [1, 1, 0]
    assert [(await shown(caller, each))["looked_at"] for caller, each in zip((acme, other), made, strict=True)] == [
        1,
        1,
    ]


class Withdrawing(InputCheck):
    """While the first plan is made the action goes."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(plane.db, plane.lake)
        self._plane = plane

    async def evidence(
        self, tenant: Tenant, action: ActionEntry, entity_id: str, inputs: dict[str, Coordinate]
    ) -> Evidence:
        await self._plane.publish(WITHOUT_INGEST)
        return await super().evidence(tenant, action, entity_id, inputs)


async def test_an_action_that_goes_amid_a_chunk_refuses_nothing(acme: Caller) -> None:
    plane, wanted = acme.plane, 2 * PLANNED_AT_ONCE
    made = await create(acme, entities=[f"e-{number:02}" for number in range(wanted)])
    worker = Expander(plane.db, plane.lake, Withdrawing(plane), plane.settings)
    done = await worker.step()
    assert 0 < done <= PLANNED_AT_ONCE
    found = await shown(acme, made)
    assert (found["looked_at"], found["refused"], found["processes"]) == (done, 0, {"accepted": done})
    await plane.publish()
    assert await expand(plane) == wanted - done
    assert (await shown(acme, made))["processes"] == {"accepted": wanted}
