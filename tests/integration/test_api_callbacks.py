"""The log of callbacks, and sending them again, as their tenant sees it."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from contracts.tenancy import Scope
from control.tables import deliveries
from control.tenancy import keys
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import GuardedSender
from tests.integration.callbacks.deliveries import deliver_due
from tests.integration.control_plane import ControlPlane
from tests.integration.worker_rows import add_tenant
from tests.receiver import Receiver, answering, receiver

pytestmark = pytest.mark.anyio


async def send(plane: ControlPlane) -> int:
    sender = GuardedSender(parse_networks(plane.settings.callback_allow))
    return await deliver_due(plane.db, sender, plane.settings)


async def cancelled(plane: ControlPlane, hook: Receiver) -> UUID:
    process_id = await plane.accepted(callback_url=hook.url)
    await plane.cancel(process_id)
    return process_id


async def test_before_the_end_there_is_none(plane: ControlPlane) -> None:
    process_id = await plane.accepted(callback_url="https://example.com/hook")
    path = f"/v1/processes/{process_id}/callbacks"
    assert (await plane.get(path)).json() == {"callbacks": []}
    refused = await plane.post(f"{path}:redeliver")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_callback")


async def test_every_try_is_in_the_log(plane: ControlPlane) -> None:
    async with receiver(answering("500 No")) as hook:
        process_id = await cancelled(plane, hook)
        assert await send(plane) == 1
        (told,) = (await plane.get(f"/v1/processes/{process_id}/callbacks")).json()["callbacks"]
        assert (told["state"], told["tries"], told["last_status"], told["url"]) == ("pending", 1, 500, hook.url)
        assert told["next_try_at"] is not None
        (first,) = told["log"]
        assert (first["number"], first["status"]) == (1, 500)
        assert first["next_try_in_seconds"] in range(4, 7)


async def test_what_was_delivered_is_sent_again_under_the_same_id(plane: ControlPlane) -> None:
    async with receiver(answering("200 OK")) as hook:
        process_id = await cancelled(plane, hook)
        assert await send(plane) == 1
        path = f"/v1/processes/{process_id}/callbacks"
        again = await plane.post(f"{path}:redeliver")
        assert (again.status_code, again.json()["callbacks"][0]["state"]) == (202, "pending")
        assert await send(plane) == 1
        first, second = hook.requests
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        (told,) = (await plane.get(path)).json()["callbacks"]
        assert (told["state"], [each["number"] for each in told["log"]]) == ("delivered", [1, 1])
        assert "callback_repeated" in await plane.kinds(process_id)


async def test_what_was_given_up_is_sent_again(plane: ControlPlane) -> None:
    async with receiver(answering("200 OK")) as hook:
        process_id = await cancelled(plane, hook)
        async with plane.db.transaction() as conn:
            await conn.execute(update(deliveries).values(state="exhausted", tries=10))
        assert await send(plane) == 0
        assert (await plane.post(f"/v1/processes/{process_id}/callbacks:redeliver")).status_code == 202
        assert await send(plane) == 1


async def test_another_tenant_sees_and_repeats_nothing(plane: ControlPlane) -> None:
    await add_tenant(plane.db, "other")
    async with plane.db.transaction() as conn:
        key = (await keys.create(conn, "other", [Scope.READ, Scope.SUBMIT])).get_secret_value()
    process_id = await plane.accepted()
    for wanted in (process_id, uuid4()):
        path = f"/v1/processes/{wanted}/callbacks"
        headers = {"Authorization": f"Bearer {key}"}
        answers = [await plane.http.get(path, headers=headers), await plane.post(f"{path}:redeliver", headers)]
        for answer in answers:
            assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such process")


async def test_the_catalogue_tells_what_can_be_asked_for(plane: ControlPlane) -> None:
    shown = (await plane.get("/v1/actions")).json()
    assert [action["name"] for action in shown["actions"]] == ["ingest", "refine"]
    assert shown["actions"][1]["params_schema"]["required"] == ["day"]
    assert shown["profiles"]["large"]["executor_instances"] == 8
    await plane.publish({"actions": [], "profiles": {}})
    assert (await plane.get("/v1/actions")).json() == {"actions": [], "profiles": {}}
