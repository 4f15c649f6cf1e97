"""What waits for paused backfills costs a release nothing, however much it is. Pages are the measure, not a clock."""

import re
from uuid import UUID

import pytest
from sqlalchemy import text

from bench.plans import explain, sent_statements
from control.releasing.release import release_once
from tests.integration.backfilling import create, expand, steer
from tests.integration.control_plane import ControlPlane
from tests.integration.tenant import Caller
from tests.integration.worker_rows import all_processes, multiply
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
PAUSED, WAITING = 5, 2_000
SLACK = 30
"""Pages: of the two that are released beside them, and an index grows by a level."""


async def test_a_release_reads_nothing_of_what_waits_for_paused_backfills(acme: Caller) -> None:
    plane = acme.plane
    first = [await paused(acme, number) for number in range(PAUSED)]
    released, least = await release(plane)
    assert released == 0
    for process_id in first:
        await multiply(plane.db, process_id, WAITING)
    await create(acme, entities=["going-on"])
    await expand(plane)
    await acme.submit("single")
    released, pages = await release(plane)
    assert released == 2
    assert pages <= least + SLACK, "before PostgreSQL has looked at the table"
    async with plane.db.transaction() as conn:
        await conn.execute(text("ANALYZE"))
    _, pages = await release(plane)
    assert pages <= least + SLACK, "once it has"


async def paused(acme: Caller, number: int) -> UUID:
    """Make a backfill of one entity, and pause it; return its process."""
    made = await create(acme, entities=[f"paused-{number}"])
    await expand(acme.plane)
    await steer(acme, made, "pause")
    rows = await all_processes(acme.plane.db)
    return next(UUID(str(row["id"])) for row in rows if row["entity_id"] == f"paused-{number}")


async def release(plane: ControlPlane) -> tuple[int, int]:
    """Release what may be; return how many that were, and how many pages are read to choose the next."""
    with sent_statements() as sent:
        count = await release_once(plane.db, MemoryLog(), plane.settings)
    plan = await explain(plane.db, next(each for each in sent if "row_number" in each.statement))
    found = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan or "")
    assert found, plan
    return count, sum(int(pages or 0) for pages in found.groups())
