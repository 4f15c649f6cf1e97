"""Outcomes count for what they prove: a success by its commit, a failure once, for its own attempt."""

import asyncio

import pytest

from contracts.reports import REPORT_PATH
from contracts.storage import commit_key
from control.outcomes import finish_pending, settle_by_commit
from control.tables import deliveries, snapshots
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place

pytestmark = pytest.mark.anyio


async def test_succeeded_counts_when_the_commit_says_so(plane: ControlPlane) -> None:
    process_id = await plane.running(callback_url="https://example.com/hook")
    assert (await plane.report(process_id, "succeeded")).status_code == 200
    assert (await plane.process(process_id))["state"] == "running"
    token = plane.lake.commit(place(), process_id)
    answers = await asyncio.gather(*(plane.report(process_id, "succeeded") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    shown = (await plane.get(f"/v1/processes/{process_id}")).json()
    assert shown["state"] == "succeeded"
    assert shown["snapshot"]["rows"] == shown["metrics"]["rows"] == 3
    stages = [entry["stage"] for entry in shown["timeline"]]
    of_the_run = {"run_started", "spark_ready", "written", "audited", "committed"}
    assert set(stages) == {"accepted", "queued", "running", *of_the_run, "succeeded"}
    assert stages.count("succeeded") == 1
    assert all(entry["seconds"] >= 0 for entry in shown["timeline"])
    (snapshot,) = await plane.rows(snapshots)
    assert snapshot["token"] == token
    (delivery,) = await plane.rows(deliveries)
    assert '"process.succeeded"' in delivery["body"]


async def test_somebody_elses_commit_fails_the_process_with_its_link(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.commit(place(), None)
    await plane.report(process_id, "succeeded")
    row = await plane.process(process_id)
    assert (row["state"], row["reason"]["code"]) == ("failed", "version_already_published")
    assert "s3://lake/cust_8842/v1/raw" in row["reason"]["message"]


async def test_a_retriable_failure_makes_the_next_attempt_up_to_the_limit(plane: ControlPlane) -> None:
    process_id = await plane.running()
    for attempt in (1, 2):
        await asyncio.gather(*(plane.failed(process_id, attempt=attempt, run_id=f"run-{attempt}") for _ in range(3)))
        row = await plane.process(process_id)
        assert (row["state"], row["attempt"], row["launch_id"]) == ("accepted", attempt + 1, None)
        assert row["not_before"] > row["updated_at"]
        await plane.relaunched(process_id)
        await plane.report(process_id, "started", attempt=attempt + 1, run_id=f"run-{attempt + 1}")
    await plane.failed(process_id, attempt=3, run_id="run-3")
    row = await plane.process(process_id)
    assert (row["state"], row["reason"]["code"]) == ("failed", "run_died")


async def test_the_users_own_failure_ends_at_once(plane: ControlPlane) -> None:
    process_id = await plane.running(callback_url="https://example.com/hook")
    used = {"granted": {"driver_cores": 1}, "driver_peak_heap_bytes": 7e8}
    await asyncio.gather(*(plane.failed(process_id, "action_raised", resources=used) for _ in range(4)))
    row = await plane.process(process_id)
    shown = (await plane.get(f"/v1/processes/{process_id}")).json()
    assert [at["detail"]["resources"] for at in shown["timeline"] if at["stage"] == "attempt_failed"] == [used]
    assert (row["state"], row["attempt"], row["reason"]["message"]) == ("failed", 1, "it broke")
    assert len(await plane.rows(deliveries)) == 1
    assert (await plane.submit()).status_code == 202  # the coordinate is free again


async def test_a_second_run_of_the_same_attempt_cannot_fail_it(plane: ControlPlane) -> None:
    process_id = await plane.running()
    assert (await plane.failed(process_id, "action_raised", run_id="run-2")).status_code == 200
    assert (await plane.process(process_id))["state"] == "running"


async def test_without_a_last_look_at_the_lake_nothing_ends(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.is_down = True
    assert (await plane.failed(process_id, "action_raised")).status_code == 200
    row = await plane.process(process_id)
    assert (row["state"], row["ending"]["state"]) == ("running", "failed")
    plane.lake.is_down = False
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    assert (await plane.process(process_id))["state"] == "failed"


async def test_a_silent_lake_does_not_stop_the_next_attempt(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.is_down = True
    await plane.failed(process_id)
    row = await plane.process(process_id)
    assert (row["state"], row["attempt"]) == ("accepted", 2)
    assert (await plane.report(process_id, "succeeded")).status_code == 200


async def test_a_corrupt_commit_settles_nothing_and_is_noted_once(plane: ControlPlane) -> None:
    process_id = await plane.running()
    plane.lake.objects[commit_key(place())] = b"not a commit"
    for _ in range(2):
        assert not await settle_by_commit(plane.db, plane.lake, process_id)
    assert (await plane.kinds(process_id)).count("commit_corrupt") == 1


async def test_an_operators_run_makes_its_snapshot_known(plane: ControlPlane) -> None:
    where = {"entity_id": "cust_8842", "data_version": "v1", "dataset": "raw"}
    body = {"event": "published", "at": "2026-01-01T00:00:00Z", "run_id": "run-9", **where}
    assert (await plane.signed("POST", REPORT_PATH, body)).status_code == 422
    plane.lake.commit(place(), None)
    for _ in range(2):
        assert (await plane.signed("POST", REPORT_PATH, body)).status_code == 200
    assert (await plane.submit()).json()["code"] == "version_already_published"
    plane.lake.is_down = True
    assert (await plane.signed("POST", REPORT_PATH, body)).json()["code"] == "lake_unavailable"
