"""What the reports of an attempt need: its token, a permit that is over, an attempt that follows."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, update

from contracts.identity import new_token
from control.tables import processes
from tests.integration.control_plane import ControlPlane


def token_of(process_id: UUID, attempt: int = 1) -> str:
    return new_token(str(process_id), attempt)


async def second_attempt(plane: ControlPlane, process_id: UUID) -> None:
    assert (await plane.failed(process_id)).status_code == 200
    await plane.relaunched(process_id)
    answer = await plane.report(process_id, "started", attempt=2, run_id="run-2")
    assert answer.status_code == 200, answer.text


async def kill_permit(plane: ControlPlane, process_id: UUID) -> None:
    """Let the permit's time, and the clock skew, have passed."""
    ago = func.now() - timedelta(minutes=10)
    async with plane.db.transaction() as conn:
        await conn.execute(update(processes).where(processes.c.id == process_id).values(permit_until=ago))
