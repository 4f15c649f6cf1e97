"""The run in a process's view: Dagster's word, or that it cannot be had; and moves that wait for one another."""

import asyncio
from uuid import UUID

import httpx
import pytest

from api.app import create_app
from contracts.states import State
from contracts.views import RunStatus
from control.transitions import lock, move
from resources.dagster.runs import DagsterRunsUnavailableError
from tests.integration.control_plane import ControlPlane
from tests.integration.waiting import until_waiting

pytestmark = pytest.mark.anyio


class Runs:
    """Dagster's storage with one run; ``is_away`` hides it."""

    def __init__(self) -> None:
        self.is_away = False

    async def run_of_launch(self, launch_id: UUID) -> RunStatus | None:
        if self.is_away:
            raise DagsterRunsUnavailableError("away")
        return RunStatus(run_id=str(launch_id), status="STARTED", started_at=None, ended_at=None, url="http://ui")


async def test_the_view_shows_the_run_or_says_that_it_cannot(plane: ControlPlane) -> None:
    runs = Runs()
    app = create_app(settings=plane.settings, db=plane.db, lake=plane.lake, runs=runs)
    process_id, launch_id = await plane.launched()
    waiting = await plane.accepted(data_version="v2")
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:

        async def run_of(wanted: UUID) -> object:
            answer = await http.get(f"/v1/processes/{wanted}", headers=plane.auth())
            assert answer.status_code == 200
            return answer.json()["run"]

        shown = await run_of(process_id)
        assert isinstance(shown, dict)
        assert (shown["run_id"], shown["status"]) == (launch_id, "STARTED")
        assert await run_of(waiting) is None
        runs.is_away = True
        assert await run_of(process_id) == {"status": "unavailable"}


async def test_a_move_that_waited_acts_on_what_it_then_finds(plane: ControlPlane) -> None:
    process_id, _ = await plane.launched()

    async def fail() -> bool:
        async with plane.db.transaction() as conn:
            return await move(conn, process_id, State.FAILED, actor="test", attempt=1) is not None

    async with plane.db.transaction() as conn:
        assert await lock(conn, process_id) is not None
        waiting = [asyncio.create_task(fail()) for _ in range(4)]
        await until_waiting(plane.db, len(waiting))  # each now holds a snapshot in which the process is queued
        assert await move(conn, process_id, State.RUNNING, actor="test") is not None
    assert sorted(await asyncio.gather(*waiting)) == [False, False, False, True]
    assert (await plane.kinds(process_id))[-2:] == ["running", "failed"]
