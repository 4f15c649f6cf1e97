"""A request, its profile and its artifact are large: what looks at many processes at once does not read them."""

import pytest
from sqlalchemy import func

from bench.plans import sent_statements
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from control import processes
from control.reconciling.reconciler import Reconciler
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.memory_lake import MemoryLake
from tests.integration.worker_rows import add_process, add_tenant

pytestmark = pytest.mark.anyio
WIDE = ("processes.request,", "processes.profile", "processes.artifact")


async def test_a_list_and_a_pass_of_the_reconciler_read_no_large_columns(
    db: Database, settings: ControlSettings
) -> None:
    await add_tenant(db, DEFAULT_TENANT)
    process_id = await add_process(db, state=State.QUEUED.value, released_at=func.now())
    with sent_statements() as listed:
        page = await processes.page(db, DEFAULT_TENANT, {}, limit=200)
    assert [each.process_id for each in page.processes] == [process_id]
    with sent_statements() as passed:
        await Reconciler(db, MemoryLake(), None, settings).reconcile()
    many = [each.statement for each in (*listed, *passed) if "LIMIT" in each.statement]
    assert len(many) == 2
    assert [name for statement in many for name in WIDE if name in statement] == []
