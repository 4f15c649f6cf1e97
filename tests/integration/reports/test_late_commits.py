"""Commits of zombies: they win until the process has ended, and afterwards change no outcome."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from contracts.states import State
from control.outcomes import end_process, finish_pending
from control.tables import deliveries, snapshots
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.reports.attempts import kill_permit, second_attempt, token_of

pytestmark = pytest.mark.anyio


async def test_a_zombies_commit_wins_while_attempt_2_runs(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    await second_attempt(plane, process_id)
    plane.lake.commit(place(), process_id, attempt=1)
    assert (await plane.report(process_id, "succeeded", attempt=1)).status_code == 200
    assert (await plane.process(process_id))["state"] == "succeeded"
    second: dict[str, Any] = {"attempt": 2, "run_id": "run-2"}
    stop = await plane.report(process_id, "committing", token=token_of(process_id, 2), **second)
    assert stop.json()["code"] == "attempt_superseded"
    assert (await plane.failed(process_id, "run_died", **second)).status_code == 200
    assert (await plane.process(process_id))["state"] == "succeeded"


async def test_a_zombies_commit_wins_over_an_end_that_waits(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    wanted = (plane.db, plane.lake, process_id, State.CANCELLED, None, "tenant:default")
    await end_process(*wanted, settings=plane.settings)
    await end_process(*wanted, settings=plane.settings)
    plane.lake.commit(place(), process_id)
    await kill_permit(plane, process_id)
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    row = await plane.process(process_id)
    assert (row["state"], row["ending"], row["reason"]) == ("succeeded", None, None)
    assert (await plane.kinds(process_id)).count("ending") == 1


async def test_a_commit_after_the_end_is_told_indexed_and_changes_no_outcome(plane: ControlPlane) -> None:
    process_id = await plane.running(callback_url="https://example.com/hook")
    await plane.failed(process_id, "action_raised")
    token = plane.lake.commit(place(), process_id)
    with capture_logs() as logs:
        answers = await asyncio.gather(*(plane.report(process_id, "succeeded") for _ in range(3)))
    assert {answer.status_code for answer in answers} == {200}
    told = [(entry["event"], entry["state"]) for entry in logs if entry["log_level"] == "critical"]
    assert told == [("commit.after_the_end", "failed")] * 3
    row = await plane.process(process_id)
    assert (row["state"], row["reason"]["code"], row["artifact"]) == ("failed", "action_raised", None)
    assert (await plane.kinds(process_id)).count("commit_after_end") == 1
    (snapshot,) = await plane.rows(snapshots)
    assert (snapshot["token"], snapshot["process_id"]) == (token, process_id)
    assert len(await plane.rows(deliveries)) == 1
    assert (await plane.get(f"/v1/processes/{process_id}")).status_code == 200
    assert (await plane.submit()).json()["code"] == "version_already_published"


async def test_somebody_elses_commit_after_the_end_is_no_alarm(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.failed(process_id, "action_raised")
    plane.lake.commit(place(), uuid4())
    with capture_logs() as logs:
        assert (await plane.report(process_id, "succeeded")).status_code == 200
    assert [entry for entry in logs if entry["log_level"] == "critical"] == []
    assert "commit_after_end" not in await plane.kinds(process_id)
