"""Reports: the start gate, the commit permit, and outcomes that only count for what they prove."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, update
from structlog.testing import capture_logs

from contracts.identity import new_token
from contracts.reports import COMMIT_DELIVERY_SECONDS, REPORT_PATH
from contracts.states import State
from contracts.storage import commit_key
from control.outcomes import end_process, finish_pending, settle_by_commit
from control.tables import deliveries, processes, snapshots
from tests.integration.control_plane import ControlPlane, place

pytestmark = pytest.mark.anyio


def token_of(process_id: UUID, attempt: int = 1) -> str:
    return new_token(str(process_id), attempt)


async def _second_attempt(plane: ControlPlane, process_id: UUID) -> None:
    assert (await plane.failed(process_id)).status_code == 200
    await plane.relaunched(process_id)
    answer = await plane.report(process_id, "started", attempt=2, run_id="run-2")
    assert answer.status_code == 200, answer.text


async def _kill_permit(plane: ControlPlane, process_id: UUID) -> None:
    """Let the permit's time, and the clock skew, have passed."""
    ago = func.now() - timedelta(minutes=10)
    async with plane.db.transaction() as conn:
        await conn.execute(update(processes).where(processes.c.id == process_id).values(permit_until=ago))


def _in_seconds(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_members_are_the_wanted_attempts(plane: ControlPlane) -> None:
    process_id, launch_id = await plane.launched(params={"a": 1.0})
    (member,) = (await plane.members(launch_id)).json()["members"]
    assert member["process_id"] == str(process_id)
    assert member["params"] == {"a": 1.0}
    assert member["profile"]["driver_memory"] == "1g"
    await plane.failed(process_id)
    assert (await plane.members(launch_id)).json()["members"] == []
    assert (await plane.members(str(uuid4()))).status_code == 404


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


async def test_a_permit_is_given_once_and_never_prolonged(plane: ControlPlane) -> None:
    process_id = await plane.running()
    token = token_of(process_id)
    answers = [await plane.report(process_id, "committing", token=token) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["permit_until"] for answer in answers}) == 1
    await _kill_permit(plane, process_id)
    refused = await plane.report(process_id, "committing", token=token)  # a fresh URL gets no fresh permit
    assert (refused.status_code, refused.json()["code"]) == (409, "commit_outlives_permit")
    again = await plane.report(process_id, "committing", token=token, commit_expires_at=_in_seconds(-900))
    assert again.json()["permit_until"] < answers[0].json()["permit_until"]


@pytest.mark.parametrize("seconds", [600, 130, None])
async def test_no_permit_for_a_commit_that_outlives_it(plane: ControlPlane, seconds: int | None) -> None:
    process_id = await plane.running()
    token = token_of(process_id)
    until = None if seconds is None else _in_seconds(seconds)
    refused = await plane.report(process_id, "committing", token=token, commit_expires_at=until)
    assert (refused.status_code, refused.json()["code"]) == (409, "commit_outlives_permit")
    assert "LAKEMILL_PERMIT_SECONDS" in refused.json()["remedy"]
    row = await plane.process(process_id)
    assert (row["permit_token"], row["permit_until"]) == (None, None)
    assert (await plane.report(process_id, "committing", token=token)).status_code == 200


async def test_an_expiry_without_a_zone_is_malformed(plane: ControlPlane) -> None:
    process_id = await plane.running()
    naive = "2026-01-01T00:00:00"
    answer = await plane.report(process_id, "committing", token=token_of(process_id), commit_expires_at=naive)
    assert answer.json()["code"] == "validation_failed"


async def test_a_permit_of_a_dead_attempt_holds_the_next_one_up(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    await _second_attempt(plane, process_id)
    second: dict[str, Any] = {"attempt": 2, "run_id": "run-2", "token": token_of(process_id, 2)}
    held = await plane.report(process_id, "committing", **second)
    assert (held.status_code, held.json()["code"]) == (409, "permit_held")
    assert 0 < held.json()["retry_after"] <= 125
    await _kill_permit(plane, process_id)
    assert (await plane.report(process_id, "committing", **second)).status_code == 200


async def test_who_gets_no_permit(plane: ControlPlane) -> None:
    process_id, _ = await plane.launched()
    token = token_of(process_id)
    assert (await plane.report(process_id, "committing", token=token)).status_code == 409  # not started
    await plane.report(process_id, "started")
    stranger = await plane.report(process_id, "committing", run_id="run-2", token=token)
    assert stranger.json()["code"] == "attempt_superseded"
    assert (await plane.report(process_id, "committing")).json()["code"] == "validation_failed"
    await plane.failed(process_id, "check_failed")
    assert (await plane.report(process_id, "committing", token=token)).status_code == 409  # terminal


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
    assert set(stages) == {"accepted", "queued", "running", "run_started", "written", "committed", "succeeded"}
    assert stages.count("succeeded") == 1
    assert all(entry["seconds"] >= 0 for entry in shown["timeline"])
    (snapshot,) = await plane.rows(snapshots)
    assert snapshot["token"] == token
    (delivery,) = await plane.rows(deliveries)
    assert '"process.succeeded"' in delivery["body"]


async def test_a_zombies_commit_wins_while_attempt_2_runs(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    await _second_attempt(plane, process_id)
    plane.lake.commit(place(), process_id, attempt=1)
    assert (await plane.report(process_id, "succeeded", attempt=1)).status_code == 200
    assert (await plane.process(process_id))["state"] == "succeeded"
    second: dict[str, Any] = {"attempt": 2, "run_id": "run-2"}
    stop = await plane.report(process_id, "committing", token=token_of(process_id, 2), **second)
    assert stop.json()["code"] == "attempt_superseded"
    assert (await plane.failed(process_id, "run_died", **second)).status_code == 200
    assert (await plane.process(process_id))["state"] == "succeeded"


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
    await asyncio.gather(*(plane.failed(process_id, "action_raised") for _ in range(4)))
    row = await plane.process(process_id)
    assert (row["state"], row["attempt"], row["reason"]["message"]) == ("failed", 1, "it broke")
    assert len(await plane.rows(deliveries)) == 1
    assert (await plane.submit()).status_code == 202  # the coordinate is free again


async def test_a_second_run_of_the_same_attempt_cannot_fail_it(plane: ControlPlane) -> None:
    process_id = await plane.running()
    assert (await plane.failed(process_id, "action_raised", run_id="run-2")).status_code == 200
    assert (await plane.process(process_id))["state"] == "running"


async def test_nothing_ends_while_a_permit_lives(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    await plane.failed(process_id, "action_raised")
    row = await plane.process(process_id)
    assert (row["state"], row["ending"]["state"]) == ("running", "failed")
    shown = (await plane.get(f"/v1/processes/{process_id}")).json()
    assert shown["blocked_by"]["code"] == "permit_live"
    assert not await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    refused = await plane.report(process_id, "committing", token=token_of(process_id))
    assert refused.json()["code"] == "attempt_superseded"
    assert (await plane.submit()).json()["code"] == "process_active"
    await _kill_permit(plane, process_id)
    before = len(plane.lake.asked)
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    assert plane.lake.asked[before:] == [commit_key(place())]
    assert (await plane.process(process_id))["state"] == "failed"


async def test_a_zombies_commit_wins_over_an_end_that_waits(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    wanted = (plane.db, plane.lake, process_id, State.CANCELLED, None, "tenant:default")
    await end_process(*wanted, settings=plane.settings)
    await end_process(*wanted, settings=plane.settings)
    plane.lake.commit(place(), process_id)
    await _kill_permit(plane, process_id)
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    row = await plane.process(process_id)
    assert (row["state"], row["ending"], row["reason"]) == ("succeeded", None, None)
    assert (await plane.kinds(process_id)).count("ending") == 1


async def test_what_was_sent_in_time_may_still_be_arriving(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    await plane.failed(process_id, "action_raised")
    just_over = func.now() - timedelta(seconds=plane.settings.clock_skew_seconds + COMMIT_DELIVERY_SECONDS / 2)
    async with plane.db.transaction() as conn:
        await conn.execute(update(processes).values(permit_until=just_over))
    assert not await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    await _kill_permit(plane, process_id)
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)


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
