"""What a caller does with a backfill, and what a worker does to it."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from contracts.states import State
from control.accepting.inputs import InputCheck
from control.backfills.expansion import Expander
from control.tables import processes
from control.transitions import move
from tests.integration.control_plane import ControlPlane
from tests.integration.tenant import Caller

INGEST: dict[str, Any] = {"action": "ingest", "data_version": "v1"}


def expander(plane: ControlPlane) -> Expander:
    return Expander(plane.db, plane.lake, InputCheck(plane.db, plane.lake), plane.settings)


async def expand(plane: ControlPlane) -> int:
    """Do all that can be done now; returns for how many entities something was done."""
    total, worker = 0, expander(plane)
    while did := await worker.step():
        total += did
    return total


async def create(caller: Caller, asked: dict[str, Any] = INGEST, code: int = 201, **select: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/backfills", {**asked, "select": select})
    assert answer.status_code == code, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def shown(caller: Caller, made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await caller.get(f"/v1/backfills/{made['backfill_id']}")).json()
    return found


async def steer(caller: Caller, made: dict[str, Any], verb: str, code: int = 200) -> dict[str, Any]:
    answer = await caller.post(f"/v1/backfills/{made['backfill_id']}:{verb}")
    assert answer.status_code == code, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def end(plane: ControlPlane, how: dict[str, State], ago: timedelta = timedelta()) -> None:
    """Let the processes at those entities end so, so long ago."""
    async with plane.db.transaction() as conn:
        for entity_id, state in how.items():
            mine = processes.c.entity_id == entity_id
            process_id = (await conn.execute(select(processes.c.id).where(mine))).scalar_one()
            await move(conn, process_id, state, actor="test")
            await conn.execute(update(processes).where(mine).values(finished_at=func.now() - ago))


async def count(plane: ControlPlane, table: Any = processes) -> int:
    async with plane.db.transaction() as conn:
        return int((await conn.execute(select(func.count()).select_from(table))).scalar_one())
