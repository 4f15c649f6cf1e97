"""One of everything that a tenant may have: a process in each state, a snapshot, callbacks, a backfill."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from contracts.reasons import Reason, ReasonCode
from contracts.sources import SourceParams
from contracts.states import State
from control.outcomes import end_process
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import GuardedSender
from tests.integration.callbacks.deliveries import deliver_due
from tests.integration.control_plane import CATALOGUE, ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import Caller
from tests.receiver import answering, receiver

BACKFILL = {"action": "ingest", "data_version": "of-the-backfill"}
DATASET = "raw"
DELIVERED = "delivered"
_INGEST: dict[str, Any] = CATALOGUE["actions"][0]
_DELIVER = {
    "name": "deliver",
    "dataset": DELIVERED,
    "registers": True,
    "params_schema": SourceParams.model_json_schema(),
}
REGISTERING: dict[str, Any] = {**CATALOGUE, "actions": [*CATALOGUE["actions"], _INGEST | _DELIVER]}
"""The catalogue, with an action that makes the dataset ``delivered`` of files from outside."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a tenant has at ``entity_id``. The data version of each process is the name of its state."""

    entity_id: str
    processes: dict[State, UUID]
    launch_id: UUID
    backfill_id: UUID


async def one_of_each(owner: Caller, entity_id: str, note: str, hook: str) -> Belongings:
    """Let ``owner`` have one of everything; ``note`` is a parameter, ``hook`` the path of the callbacks' address.

    What has ended has told so to a receiver on loopback, which is gone then. ``REGISTERING`` is published.
    """
    plane = replace(owner.plane, key=owner.key)
    await plane.publish(REGISTERING)
    async with receiver(answering("200 OK")) as listening:
        url = f"http://127.0.0.1:{listening.port}/{hook}"
        common: dict[str, Any] = {"entity_id": entity_id, "params": {"note": note}, "callback_url": url}
        _, launch_id = await plane.launched(data_version=State.QUEUED.value, **common)
        for state in (State.ACCEPTED, State.CANCELLED, State.EXPIRED):
            await plane.accepted(data_version=state.value, **common)
        for state in (State.RUNNING, State.SUCCEEDED, State.FAILED):
            await plane.running(data_version=state.value, **common)
        ids = await _by_version(plane)
        await _end(plane, ids, owner.id, entity_id)
        sender = GuardedSender(parse_networks(plane.settings.callback_allow))
        assert await deliver_due(plane.db, sender, plane.settings) == sum(state.is_terminal for state in ids)
    backfill = {**BACKFILL, "select": {"pattern": f"{entity_id[:4]}*"}, "params": {"note": note}}
    made = await owner.post("/v1/backfills", backfill)
    assert made.status_code == 201, made.text
    return Belongings(entity_id, ids, UUID(launch_id), UUID(made.json()["backfill_id"]))


async def _by_version(plane: ControlPlane) -> dict[State, UUID]:
    listed = (await plane.get("/v1/processes")).json()["processes"]
    return {State(each["data_version"]): UUID(each["process_id"]) for each in listed}


async def _end(plane: ControlPlane, ids: dict[State, UUID], tenant: str, entity_id: str) -> None:
    await plane.cancel(ids[State.CANCELLED])
    late = Reason(code=ReasonCode.DEADLINE_PASSED, message="it was not done in time")
    expired = ids[State.EXPIRED]
    await end_process(plane.db, plane.lake, expired, State.EXPIRED, late, "test", settings=plane.settings)
    await plane.failed(ids[State.FAILED], ReasonCode.CHECK_FAILED)
    where = place(DATASET, entity_id, State.SUCCEEDED.value)
    plane.lake.commit(where, ids[State.SUCCEEDED], tenant=tenant)
    await plane.report(ids[State.SUCCEEDED], "succeeded")
    for state, process_id in ids.items():
        assert (await plane.process(process_id))["state"] == state
