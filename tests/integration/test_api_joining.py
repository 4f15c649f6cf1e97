"""Joining what somebody has asked for already: one process, and a callback for each."""

from dataclasses import asdict
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from contracts.callbacks import webhook_id
from contracts.reports import REPORT_PATH
from contracts.states import State
from control.accepting.existing import MAX_SUBSCRIBERS, deliver_missed
from control.tables import deliveries, processes, subscribers
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place

pytestmark = pytest.mark.anyio
HOOK, OTHER = "https://example.com/hook", "https://example.org/other"


async def joining(plane: ControlPlane, **changes: Any) -> httpx.Response:
    return await plane.submit(query="?on_conflict=use_existing", **changes)


async def test_joining_nothing_is_a_submit(plane: ControlPlane) -> None:
    assert (await joining(plane)).status_code == 202


async def test_who_joins_hears_of_the_end_too(plane: ControlPlane) -> None:
    process_id = await plane.running(callback_url=HOOK)
    for _ in range(2):
        joined = await joining(plane, callback_url=OTHER)
        assert (joined.status_code, joined.json()["process_id"]) == (200, str(process_id))
    assert (await joining(plane, callback_url=HOOK)).status_code == 200
    assert [row["url"] for row in await plane.rows(subscribers)] == [OTHER]
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    told = {row["url"]: row["id"] for row in await plane.rows(deliveries)}
    assert told == {url: webhook_id(process_id, State.SUCCEEDED, url) for url in (HOOK, OTHER)}
    shown = (await plane.get(f"/v1/processes/{process_id}")).json()
    assert [entry["detail"] for entry in shown["timeline"] if entry["stage"] == "subscribed"] == [{"url": OTHER}]


async def test_who_was_forgotten_at_the_end_is_told_later(plane: ControlPlane) -> None:
    process_id = await plane.running(callback_url=HOOK)
    await joining(plane, callback_url=OTHER)
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    async with plane.db.transaction() as conn:  # as a worker that knows no subscribers would have left it
        await conn.execute(delete(deliveries).where(deliveries.c.url == OTHER))
    assert await deliver_missed(plane.db) == 1
    assert await deliver_missed(plane.db) == 0
    told = {row["url"]: row["id"] for row in await plane.rows(deliveries)}
    assert told[OTHER] == webhook_id(process_id, State.SUCCEEDED, OTHER)


async def test_who_joins_what_has_succeeded_hears_at_once_and_once(plane: ControlPlane) -> None:
    process_id = await plane.succeed(await plane.submit(callback_url=HOOK))
    for _ in range(2):
        joined = await joining(plane, callback_url=OTHER)
        assert (joined.status_code, joined.json()["state"]) == (200, "succeeded")
    told = {row["url"]: row["id"] for row in await plane.rows(deliveries)}
    assert told == {url: webhook_id(process_id, State.SUCCEEDED, url) for url in (HOOK, OTHER)}
    assert len(await plane.rows(processes)) == 1


async def test_what_has_failed_is_not_joined_but_done_again(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.failed(process_id, "action_raised")
    again = await joining(plane)
    assert again.status_code == 202
    assert again.json()["process_id"] != str(process_id)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"params": {"n": 1}}, {"params": {"n": True}}),
        ({"params": {"n": 1}}, {}),
    ],
)
async def test_a_process_that_was_asked_for_something_else_is_not_joined(
    plane: ControlPlane, first: dict[str, Any], second: dict[str, Any]
) -> None:
    process_id = (await plane.submit(**first)).json()["process_id"]
    refused = await joining(plane, callback_url=OTHER, **second)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflicting_request")
    assert refused.json()["process_id"] == process_id
    assert await plane.rows(subscribers) == []


async def test_inputs_are_compared_by_what_they_mean(plane: ControlPlane) -> None:
    plane.lake.commit(place(), None)
    plane.lake.commit(place(data_version="v0"), None)
    same = {"raw": {"entity_id": "cust_8842", "data_version": "v1"}}
    other = {"raw": {"entity_id": "cust_8842", "data_version": "v0"}}
    refine: dict[str, Any] = {"action": "refine", "params": {"day": "monday"}}
    await plane.submit(**refine)
    assert (await joining(plane, inputs=same, **refine)).status_code == 200
    assert (await joining(plane, inputs=other, **refine)).json()["code"] == "conflicting_request"


async def test_what_somebody_else_published_cannot_be_joined(plane: ControlPlane) -> None:
    plane.lake.commit(place(), None)
    told = {"event": "published", "at": "2026-01-01T00:00:00Z", "run_id": "run-1", **asdict(place())}
    assert (await plane.signed("POST", REPORT_PATH, told)).status_code == 200
    assert (await joining(plane)).json()["code"] == "version_already_published"


@pytest.mark.parametrize("has_ended", [False, True])
async def test_only_so_many_may_join(plane: ControlPlane, has_ended: bool) -> None:
    submitted = await plane.submit(callback_url=HOOK)
    if has_ended:
        await plane.succeed(submitted)
    for number in range(MAX_SUBSCRIBERS):
        assert (await joining(plane, callback_url=f"{OTHER}/{number}")).status_code == 200
    assert (await joining(plane, callback_url=f"{OTHER}/more")).json()["code"] == "too_many_subscribers"
    for known in (f"{OTHER}/0", HOOK, None):
        assert (await joining(plane, callback_url=known)).status_code == 200
    assert len(await plane.rows(deliveries)) == (MAX_SUBSCRIBERS + 1 if has_ended else 0)
    shown = (await plane.get(submitted.headers["location"])).json()["callback"]
    assert (shown and shown["url"]) == (HOOK if has_ended else None)
