"""The commit permit: given once, never prolonged, and held for as long as a commit may come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, update

from contracts.reports import COMMIT_DELIVERY_SECONDS
from contracts.storage import commit_key
from control.outcomes import finish_pending
from control.tables import processes
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.reports.attempts import kill_permit, second_attempt, token_of

pytestmark = pytest.mark.anyio


def _in_seconds(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_permit_is_given_once_and_never_prolonged(plane: ControlPlane) -> None:
    process_id = await plane.running()
    token = token_of(process_id)
    answers = [await plane.report(process_id, "committing", token=token) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["permit_until"] for answer in answers}) == 1
    await kill_permit(plane, process_id)
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
    await second_attempt(plane, process_id)
    second: dict[str, Any] = {"attempt": 2, "run_id": "run-2", "token": token_of(process_id, 2)}
    held = await plane.report(process_id, "committing", **second)
    assert (held.status_code, held.json()["code"]) == (409, "permit_held")
    assert 0 < held.json()["retry_after"] <= 125
    await kill_permit(plane, process_id)
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
    await kill_permit(plane, process_id)
    before = len(plane.lake.asked)
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    assert plane.lake.asked[before:] == [commit_key(place())]
    assert (await plane.process(process_id))["state"] == "failed"


async def test_what_was_sent_in_time_may_still_be_arriving(plane: ControlPlane) -> None:
    process_id = await plane.running()
    await plane.report(process_id, "committing", token=token_of(process_id))
    await plane.failed(process_id, "action_raised")
    just_over = func.now() - timedelta(seconds=plane.settings.clock_skew_seconds + COMMIT_DELIVERY_SECONDS / 2)
    async with plane.db.transaction() as conn:
        await conn.execute(update(processes).values(permit_until=just_over))
    assert not await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
    await kill_permit(plane, process_id)
    assert await finish_pending(plane.db, plane.lake, process_id, settings=plane.settings)
