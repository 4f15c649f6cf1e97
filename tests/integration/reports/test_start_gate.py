"""Before a run computes: what it is to do, why it does not start, and the gate that lets one run through."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.control_plane import ControlPlane

pytestmark = pytest.mark.anyio


async def test_members_are_the_wanted_attempts(plane: ControlPlane) -> None:
    process_id, launch_id = await plane.launched(params={"a": 1.0})
    (member,) = (await plane.members(launch_id)).json()["members"]
    assert member["process_id"] == str(process_id)
    assert member["params"] == {"a": 1.0}
    assert member["profile"]["driver_memory"] == "1g"
    await plane.failed(process_id)
    assert (await plane.members(launch_id)).json()["members"] == []
    assert (await plane.members(str(uuid4()))).status_code == 404


async def test_why_a_run_does_not_start_is_what_its_process_waits_for(plane: ControlPlane) -> None:
    process_id, _ = await plane.launched()

    async def waiting(code: str, **fields: Any) -> int:
        reason = {"code": code, "message": "no node takes the run pod (1 Insufficient memory)"}
        return (await plane.report(process_id, "waiting", reason=reason, **fields)).status_code

    async def blocked() -> str | None:
        told = (await plane.get(f"/v1/processes/{process_id}")).json()["blocked_by"]
        return None if told is None else str(told["code"])

    assert await blocked() == "waiting_for_run"
    assert await waiting("pod_pending") == 200
    assert await blocked() == "pod_pending"
    assert await waiting("quota_exceeded") == 200
    assert await blocked() == "quota_exceeded"
    assert (await plane.report(process_id, "waiting")).status_code == 422
    assert await waiting("pod_pending", attempt=2) == 409
    assert (await plane.report(process_id, "started")).status_code == 200
    assert await waiting("pod_pending") == 200  # late: it has started meanwhile
    assert await blocked() is None
    assert (await plane.kinds(process_id)).count("waiting") == 2


async def test_the_start_gate_lets_one_run_through(plane: ControlPlane) -> None:
    process_id, _ = await plane.launched()
    answers = await asyncio.gather(*(plane.report(process_id, "started", run_id=f"run-{n % 2}") for n in range(6)))
    by_run = {n % 2: {a.status_code for m, a in enumerate(answers) if m % 2 == n % 2} for n in range(2)}
    assert sorted(by_run.values(), key=sorted) == [{200}, {409}]
    assert (await plane.kinds(process_id)).count("running") == 1


async def test_the_start_gate_is_closed_to_old_attempts(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.failed(process_id)
    late = await plane.report(process_id, "started")
    assert (late.status_code, late.json()["code"]) == (409, "attempt_superseded")
    early = await plane.report(process_id, "started", attempt=2)  # accepted again, but not yet launched
    assert early.status_code == 409
    assert (await plane.report(uuid4(), "started")).status_code == 404
