"""A preview of a submit: what would be granted or refused, and nothing stored."""

from typing import Any

import pytest

from control.tables import idempotency_keys, outbox, process_events, processes
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place

pytestmark = pytest.mark.anyio
HOOK = "https://example.com/hook"


async def test_a_preview_tells_what_would_be_granted_and_stores_nothing(plane: ControlPlane) -> None:
    plane.lake.commit(place(), None)
    answer = await plane.submit(
        {"Idempotency-Key": "k-1"},
        query="?dry_run=true",
        action="refine",
        params={"day": "monday"},
        resource_profile="large",
        callback_url=HOOK,
    )
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["dataset"], shown["callback_url"]) == ("fine", HOOK)
    assert shown["inputs"] == {"raw": {"entity_id": "cust_8842", "data_version": "v1", "dataset": "raw"}}
    assert shown["profile"]["granted"]["executor_instances"] == 8
    for table in (processes, outbox, idempotency_keys, process_events):
        assert await plane.rows(table) == []


@pytest.mark.parametrize(
    ("changes", "code"), [({"action": "no"}, "unknown_action"), ({"priority": 99}, "validation_failed")]
)
async def test_a_preview_refuses_what_a_submit_would(plane: ControlPlane, changes: dict[str, Any], code: str) -> None:
    assert (await plane.submit(query="?dry_run=true", **changes)).json()["code"] == code


async def test_a_preview_tells_of_conflicts(plane: ControlPlane) -> None:
    active = await plane.submit()
    refused = await plane.submit(query="?dry_run=true")
    assert (refused.status_code, refused.json()["code"]) == (409, "process_active")
    assert refused.json()["process_id"] == active.json()["process_id"]
    await plane.succeed(active)
    assert (await plane.submit(query="?dry_run=true")).json()["code"] == "version_already_published"


@pytest.mark.parametrize("query", ["?dry_run=maybe", "?on_conflict=overwrite", "?dry-run=true"])
async def test_an_option_that_is_none_is_refused(plane: ControlPlane, query: str) -> None:
    assert (await plane.submit(query=query)).json()["code"] == "validation_failed"
    assert await plane.rows(processes) == []
