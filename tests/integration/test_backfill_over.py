"""A backfill that is over stays as it is: it cannot be steered any more."""

import pytest

from contracts.states import State
from control.backfills.counts import keep_counts
from control.reconciling.reconciler import Reconciler
from control.tenancy.tables import admin_log
from tests.integration.backfilling import count, create, end, expand, shown, steer
from tests.integration.tenant import Caller

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("is_counted", [False, True])
async def test_what_is_over_cannot_be_steered(acme: Caller, is_counted: bool) -> None:
    plane = acme.plane
    made = await create(acme, entities=["a", "b"])
    await expand(plane)
    await end(plane, {"a": State.SUCCEEDED, "b": State.FAILED})
    if is_counted:
        assert await keep_counts(plane.db) == 1
    before, logged = await shown(acme, made), await count(plane, admin_log)
    for verb in ("pause", "resume", "cancel"):
        refused = await steer(acme, made, verb, 409)
        assert (refused["code"], refused["state"]) == ("backfill_over", "expanded")
        assert refused["detail"] == f"the backfill is expanded, nothing is left to {verb}"
    assert await shown(acme, made) == before
    assert await count(plane, admin_log) == logged


async def test_what_has_not_ended_can_still_be_paused_and_cancelled(acme: Caller) -> None:
    plane = acme.plane
    made = await create(acme, entities=["a", "b"])
    await expand(plane)
    await end(plane, {"a": State.SUCCEEDED})
    assert (await steer(acme, made, "pause"))["state"] == "paused"
    assert (await steer(acme, made, "cancel"))["state"] == "cancelling"
    await expand(plane)
    await Reconciler(plane.db, plane.lake, None, plane.settings).reconcile()
    await expand(plane)
    found = await shown(acme, made)
    assert (found["state"], found["processes"]) == ("cancelled", {"cancelled": 1, "succeeded": 1})
