"""A tenant whose backlog is full: what adds nothing to it goes on, and a preview says what a submit would be told."""

from uuid import UUID

import pytest

from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.problems import is_problem
from tests.integration.tenant import Caller, make_tenant

pytestmark = pytest.mark.anyio
JOIN = "?on_conflict=use_existing"


@pytest.fixture
async def small(plane: ControlPlane) -> Caller:
    """A tenant with room for one, which is taken."""
    caller = await make_tenant(plane, "small", backlog=1)
    done = await caller.submit("e-1", data_version="done")
    await plane.succeed_at(done, place(entity_id="e-1", data_version="done"), "small")
    assert (await caller.submit("e-1", data_version="waits")).status_code == 202
    return caller


@pytest.mark.parametrize("version", ["waits", "done"])
async def test_what_is_there_can_be_joined(small: Caller, version: str) -> None:
    listed = (await small.get(f"/v1/processes?data_version={version}")).json()["processes"]
    joined = await small.submit("e-1", JOIN, data_version=version, callback_url="https://example.com/hook")
    assert joined.status_code == 200, joined.text
    assert UUID(joined.json()["process_id"]) == UUID(listed[0]["process_id"])


async def test_what_is_not_there_is_refused_also_in_a_preview(small: Caller) -> None:
    for query in ("", JOIN, "?dry_run=true"):
        refused = await small.submit("e-1", query, data_version="new")
        assert "1 processes" in is_problem(refused, 429, "backlog_full")["detail"]
