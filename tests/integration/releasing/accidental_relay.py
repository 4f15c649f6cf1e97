"""A relay over a log in memory that has accidents."""

from collections.abc import Sequence

from sqlalchemy import text

from contracts.intake import LogPosition
from contracts.messages import ReleaseRecord
from contracts.strict_json import loads
from resources.database import Database
from resources.log import OutgoingRecord
from tests.memory_log import MemoryLog


class AccidentalRelay:
    """A relay that stores records and then has an accident: it loses acknowledgements, or the caller dies."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.sent: list[ReleaseRecord] = []
        self.lose_every: int | None = None
        self.die = False
        self.open_transactions: list[int] = []
        self.watch: Database | None = None

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[LogPosition | None]:
        self.sent += [ReleaseRecord.model_validate(loads(record.value)) for record in records]
        positions = await self.log.publish(records)
        if self.watch is not None:
            self.open_transactions.append(await open_transactions(self.watch))
        if self.die:
            raise ConnectionAbortedError("killed between the acknowledgement and the mark")
        if self.lose_every is not None:
            return [None if index % self.lose_every == 0 else at for index, at in enumerate(positions)]
        return positions

    async def close(self) -> None:
        await self.log.close()


async def open_transactions(db: Database) -> int:
    query = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in%'"
    async with db.transaction() as conn:
        return int(await conn.scalar(text(query)) or 0)
