"""A database with a past, for the tests of retention."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from contracts.states import State
from control.retention import Pruner
from control.tables import deliveries
from control.transitions import move
from resources.dagster.runs import RunState
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeGraphQL, FakeRuns
from tests.integration.worker_rows import add_launch, add_process, all_processes, set_columns

OLD = timedelta(days=91)


class Rig:
    """A database with a past, and a Dagster that remembers it."""

    def __init__(self, db: Database, settings: ControlSettings) -> None:
        self.db, self.settings = db, settings
        self.runs, self.dagster = FakeRuns(), FakeGraphQL()
        self.pruner = Pruner(db, settings, self.runs, self.dagster)

    async def ended(self, state: State = State.FAILED, *, age: timedelta = OLD, **columns: Any) -> UUID:
        """Add a process that ended so long ago."""
        process_id = await add_process(self.db, **columns)
        async with self.db.transaction() as conn:
            await move(conn, process_id, state, actor="test")
        await set_columns(self.db, process_id, finished_at=func.now() - age)
        return process_id

    async def ran(self, run: RunState, run_id: str, *, age: timedelta = OLD) -> UUID:
        """Add a process that failed so long ago, whose run stands so."""
        process_id = await add_process(self.db)
        self.runs.add(await add_launch(self.db, process_id), run, run_id)
        await set_columns(self.db, process_id, state=State.FAILED.value, finished_at=func.now() - age)
        return process_id

    async def callbacks(self, state: str) -> None:
        """Let every callback stand so."""
        async with self.db.transaction() as conn:
            await conn.execute(update(deliveries).values(state=state))

    async def prune(self) -> int:
        return await self.pruner.step()

    async def ids(self) -> set[UUID]:
        return {row["id"] for row in await all_processes(self.db)}

    async def count(self, table: Any) -> int:
        async with self.db.transaction() as conn:
            return int((await conn.execute(select(func.count()).select_from(table))).scalar_one())
