"""A backfill's key asked for again: what was made is answered, whatever has become of its action since."""

from typing import Any

import pytest

from control.recovery.state import begin
from tests.integration.backfilling import INGEST, create
from tests.integration.tenant import Caller

pytestmark = pytest.mark.anyio
ASKED: dict[str, Any] = {**INGEST, "idempotency_key": "nightly-v1"}


async def test_a_repeat_is_answered_when_the_action_was_withdrawn(acme: Caller) -> None:
    made = await create(acme, ASKED, entities=["a"])
    await acme.plane.publish({"actions": [], "profiles": {}})
    again = await create(acme, ASKED, 200, entities=["a"])
    assert again.pop("last_refusal").startswith("unknown_action")  # it waits for the action, and says so
    assert again == {name: value for name, value in made.items() if name != "last_refusal"}
    assert (await create(acme, ASKED, 422, entities=["b"]))["code"] == "idempotency_key_reused"
    assert (await create(acme, {**ASKED, "idempotency_key": "new"}, 422, entities=["a"]))["code"] == "unknown_action"


async def test_a_repeat_is_answered_while_recovering(acme: Caller) -> None:
    made = await create(acme, ASKED, entities=["a"])
    async with acme.plane.db.transaction() as conn:
        await begin(conn, "test")
    assert await create(acme, ASKED, 200, entities=["a"]) == made
    assert (await create(acme, INGEST, 503, entities=["a"]))["code"] == "recovering"
