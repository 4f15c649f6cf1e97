"""What a tenant does to a process of its own: cancel it, and do it again."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import select

from contracts.callbacks import webhook_id
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.outcomes import decide_end, finish_pending
from control.tables import deliveries, outbox, process_events, processes, snapshots
from control.tenancy import keys
from control.transitions import lock, move
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.waiting import until_waiting

pytestmark = pytest.mark.anyio
HOOK = "https://example.com/hook"


async def test_what_waits_is_cancelled_at_once_and_told(plane: ControlPlane) -> None:
    process_id = UUID((await plane.submit(callback_url=HOOK)).json()["process_id"])
    cancelled = await plane.cancel(process_id)
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert cancelled.json()["reason"] is None
    assert await plane.rows(outbox) == []
    assert [row["id"] for row in await plane.rows(deliveries)] == [webhook_id(process_id, State.CANCELLED, HOOK)]
    assert (await plane.submit()).status_code == 202  # the coordinate is free


async def test_cancelling_again_changes_nothing(plane: ControlPlane) -> None:
    process_id = await plane.running()
    answers = await asyncio.gather(*(plane.cancel(process_id) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    query = select(process_events).where(process_events.c.to_state == "cancelled")
    assert len(await plane.rows(query)) == 1


async def test_the_run_of_a_cancelled_process_is_told_to_stop(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.cancel(process_id)
    refused = await plane.committing(process_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "attempt_superseded")


async def test_while_a_commit_may_come_the_end_waits_and_a_commit_wins(plane: ControlPlane) -> None:
    process_id = await plane.running()
    assert (await plane.committing(process_id)).status_code == 200
    waiting = (await plane.cancel(process_id)).json()
    assert (waiting["state"], waiting["blocked_by"]["code"]) == ("running", "permit_live")
    plane.lake.commit(place(), process_id)
    await plane.report(process_id, "succeeded")
    assert (await plane.process(process_id))["state"] == "succeeded"
    refused = await plane.cancel(process_id)
    assert (refused.status_code, refused.json()["code"], refused.json()["state"]) == (409, "process_ended", "succeeded")


async def test_a_commit_that_nobody_told_of_wins_over_a_cancel(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.commit(place(), process_id)
    assert (await plane.cancel(process_id)).json()["state"] == "succeeded"


async def test_a_commit_of_somebody_else_is_another_end(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.commit(place(), None)
    refused = await plane.cancel(process_id)
    assert (refused.status_code, refused.json()["code"], refused.json()["state"]) == (409, "process_ended", "failed")


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.SUCCEEDED])
async def test_an_end_that_came_while_a_cancel_waited_is_told(plane: ControlPlane, state: State) -> None:
    process_id = await plane.running()
    async with plane.db.transaction() as rival:
        await lock(rival, process_id)
        cancel = asyncio.create_task(plane.cancel(process_id))
        await until_waiting(plane.db, 1)  # it has read that the process is running
        await move(rival, process_id, state, actor="rival")
    refused = await cancel
    assert (refused.status_code, refused.json()["code"], refused.json()["state"]) == (409, "process_ended", state)
    assert (await plane.process(process_id))["state"] == state


@pytest.mark.parametrize(("first", "status"), [(State.FAILED, 409), (State.CANCELLED, 200)])
async def test_the_end_that_was_decided_while_a_cancel_waited_counts(
    plane: ControlPlane, first: State, status: int
) -> None:
    process_id = await plane.running()
    assert (await plane.committing(process_id)).status_code == 200  # no end may be written yet
    async with plane.db.transaction() as rival:
        await lock(rival, process_id)
        decision = asyncio.create_task(decide_end(plane.db, process_id, first, None, "rival"))
        await until_waiting(plane.db, 1)
        cancel = asyncio.create_task(plane.cancel(process_id))
        await until_waiting(plane.db, 2)
    assert await decision
    for answer in (await cancel, await plane.cancel(process_id)):
        assert (answer.status_code, answer.json().get("code")) == (status, "process_ended" if status == 409 else None)
        assert answer.json()["state"] == "running"


async def test_without_the_lake_a_cancel_is_decided_and_carried_out_later(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.is_down = True
    assert (await plane.cancel(process_id)).json()["blocked_by"]["code"] == "permit_live"
    plane.lake.is_down = False
    await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    assert (await plane.process(process_id))["state"] == "cancelled"


@pytest.mark.parametrize("verb", ["cancel", "retry"])
@pytest.mark.parametrize("process_id", [str(UUID(int=1)), "no-uuid"])
async def test_what_does_not_exist_is_not_found(plane: ControlPlane, verb: str, process_id: str) -> None:
    answer = await plane.post(f"/v1/processes/{process_id}:{verb}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_retry_is_a_new_process_of_the_same_request(plane: ControlPlane) -> None:
    process_id = await plane.running(callback_url=HOOK, params={"n": 1}, priority=3)
    await plane.failed(process_id, "action_raised")
    answer = await plane.post(f"/v1/processes/{process_id}:retry")
    assert answer.status_code == 202, answer.text
    again = answer.json()["process_id"]
    assert answer.headers["location"] == f"/v1/processes/{again}"
    assert again != str(process_id)
    shown = (await plane.get(f"/v1/processes/{again}")).json()
    assert (shown["state"], shown["retry_of"], shown["priority"]) == ("accepted", str(process_id), 3)
    first, second = await plane.process(process_id), await plane.process(UUID(again))
    assert first["request"] == second["request"]
    assert first["state"] == "failed"
    assert (await plane.post(f"/v1/processes/{process_id}:retry")).json()["code"] == "process_active"


async def test_a_repeated_retry_with_a_key_is_one_process(plane: ControlPlane) -> None:
    process_id = UUID((await plane.submit()).json()["process_id"])
    await plane.cancel(process_id)
    headers = {"Idempotency-Key": "again"}
    retries = await asyncio.gather(*(plane.post(f"/v1/processes/{process_id}:retry", headers) for _ in range(8)))
    assert {answer.status_code for answer in retries} == {202}
    assert len({answer.content for answer in retries}) == 1


async def test_the_key_of_a_submit_is_not_the_key_of_its_retry(plane: ControlPlane) -> None:
    headers = {"Idempotency-Key": "one"}
    process_id = UUID((await plane.submit(headers)).json()["process_id"])
    await plane.cancel(process_id)
    refused = await plane.post(f"/v1/processes/{process_id}:retry", headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")


async def test_what_has_not_failed_is_not_retried(plane: ControlPlane) -> None:
    submitted = await plane.submit()
    path = f"{submitted.headers['location']}:retry"
    for _ in ("active", "succeeded"):
        refused = await plane.post(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "process_not_retriable")
        await plane.succeed(submitted)
    assert len(await plane.rows(processes)) == 1


async def test_a_retry_obeys_the_catalogue_of_now(plane: ControlPlane) -> None:
    process_id = UUID((await plane.submit()).json()["process_id"])
    await plane.cancel(process_id)
    await plane.publish({"actions": [], "profiles": {}})
    assert (await plane.post(f"/v1/processes/{process_id}:retry")).json()["code"] == "unknown_action"


async def test_a_key_without_the_scope_may_neither_cancel_nor_retry(plane: ControlPlane) -> None:
    process_id = await plane.running()
    async with plane.db.transaction() as conn:
        reader = await keys.create(conn, DEFAULT_TENANT, [Scope.READ])
    for verb in ("cancel", "retry"):
        answer = await plane.post(
            f"/v1/processes/{process_id}:{verb}", {"Authorization": f"Bearer {reader.get_secret_value()}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await plane.process(process_id))["state"] == "running"
    assert await plane.rows(snapshots) == []
