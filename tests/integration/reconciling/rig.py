"""A reconciler over a real database, with a lake and a Dagster that a test sets up."""

from typing import Any
from uuid import UUID

from sqlalchemy import func

from contracts.cursor import Cursor, TopicPosition
from contracts.identity import Coordinate
from contracts.states import State
from control.log.position import note_cursor
from control.reconciling.reconciler import Reconciler
from resources.database import Database
from resources.settings import ControlSettings
from tests.fake_dagster import FakeRuns
from tests.integration.memory_lake import MemoryLake
from tests.integration.worker_rows import TOPIC_ID, add_launch, add_process, process

PLACE: dict[str, Any] = {"topic_id": TOPIC_ID, "log_partition": 0, "log_offset": 4}


class Rig:
    """A reconciler over a real database, with a lake and a Dagster that a test sets up."""

    def __init__(self, db: Database, settings: ControlSettings) -> None:
        self.db = db
        self.lake = MemoryLake()
        self.runs = FakeRuns()
        self.reconciler = Reconciler(db, self.lake, self.runs, settings)

    async def queued(self, *, offset: int = 4) -> tuple[UUID, UUID]:
        """A process whose launch came from the record at ``offset``."""
        process_id = await add_process(self.db, **PLACE, released_at=func.now())
        return process_id, await add_launch(self.db, process_id, offset=offset)

    async def persist(self, offset: int, topic_id: str = TOPIC_ID) -> None:
        """Let the sensor tell that Dagster has stored this cursor."""
        position = TopicPosition(topic_id=topic_id, next_offsets={0: offset})
        async with self.db.transaction() as conn:
            await note_cursor(conn, Cursor(topics={"lakemill.processes": position}))

    async def commit(self, process_id: UUID, owner: UUID | None = None, attempt: int = 1) -> None:
        row = await process(self.db, process_id)
        place = Coordinate(row["entity_id"], row["data_version"], row["dataset"])
        self.lake.commit(place, owner or process_id, attempt)

    async def run(self) -> int:
        return await self.reconciler.reconcile()

    async def state(self, process_id: UUID) -> tuple[State, int]:
        row = await process(self.db, process_id)
        return State(row["state"]), row["attempt"]
