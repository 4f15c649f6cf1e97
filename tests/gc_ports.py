"""The lake and the database in memory, as far as gc asks them, and a collector that stands still in its pause."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Insert, Select

from contracts.commit import Commit, Provenance
from contracts.identity import Coordinate
from contracts.storage import token_prefix
from control.recovery.gc import Collected, Collector
from control.schema import Row
from control.tables import processes
from resources.lake.store import ObjectInfo
from resources.settings import ControlSettings

SETTINGS = ControlSettings(
    database_url=SecretStr("postgresql+asyncpg://nobody@nowhere/none"),
    internal_secret=SecretStr("internal-secret-of-the-tests"),
)
HERE = Coordinate("cust_8842", "v1", "revenue")
Clock = Callable[[], datetime]


class KilledError(Exception):
    """The collector's process was killed."""


class MemoryLake:
    """A bucket that knows when each object was stored. ``removals_left``: the next one is the end of who removes."""

    def __init__(self, clock: Clock) -> None:
        self.objects: dict[str, bytes] = {}
        self.removals_left: int | None = None
        self._clock = clock
        self._stored_at: dict[str, datetime] = {}

    def url(self, key: str) -> str:
        return f"s3://lake/{key}"

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body
        self._stored_at[key] = self._clock()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(self.objects[key]), None, self._stored_at[key])

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self.removals_left == 0:
                raise KilledError
            if self.removals_left is not None:
                self.removals_left -= 1
            self.objects.pop(key, None)


def commit_of(place: Coordinate, token: str) -> bytes:
    """Return a commit that names no file, which gc does not look for."""
    told = {"run_id": "run-1", "action": "made", "action_digest": "0" * 64, "inputs": {}, "params": {}, "checks": []}
    nobodys = dict.fromkeys(("process_id", "attempt", "tenant"))
    origin = Provenance.model_validate({"token": token, **told, **nobodys})
    at = datetime(2024, 10, 5, tzinfo=UTC)
    return Commit(coordinate=place, committed_at=at, schema_string="{}", files=[], provenance=origin).encode()


@dataclass
class Run:
    """One execution; ``process`` is None for an operator's. Each step may be followed by death or any sleep."""

    token: str
    process: int | None
    started: datetime
    is_alive: bool = True
    is_whole: bool = False
    signed_until: datetime | None = None
    is_checked: bool = False
    begun: datetime | None = None
    files: set[str] = field(default_factory=set)
    """The keys of its data files."""

    def key(self, name: str) -> str:
        return f"{token_prefix(HERE, self.token)}{name}"


def new_row(process: int) -> dict[str, Any]:
    running = {"state": "running", "ending": None, "permit_until": None}
    return {"id": id_of(process), "is_forgotten": False, **running}


def id_of(process: int) -> str:
    return str(UUID(int=process + 1))


class MemoryDatabase:
    """Answers the four statements of gc by what ``find`` tells of a process; its clock is ``clock``."""

    def __init__(self, clock: Clock, find: Callable[[str], Row | None]) -> None:
        self._clock = clock
        self._find = find

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        yield self

    reading = transaction

    async def scalar(self, statement: Select[Any]) -> bool:
        assert "recovery" in str(statement)
        return False

    async def execute(self, statement: Select[Any] | Insert) -> "Rows | None":
        if isinstance(statement, Insert):
            assert statement.table.name == "admin_log"
            return None
        if statement.get_final_froms() == [processes]:
            ((ids,),) = [statement.compile().params.values()]
            return Rows([row for each in ids if (row := self._find(str(each))) is not None])
        assert str(statement).startswith("SELECT now()")
        return Rows([{"now": self._clock()}])


class Rows:
    """What a statement returns."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def mappings(self) -> list[Row]:
        return self._rows

    def scalar_one(self) -> Any:
        ((value,),) = (row.values() for row in self._rows)
        return value


class SteppedCollector:
    """The real collector, one step at a time: it looks; it marks and stands in its pause; it goes on, or is killed."""

    def __init__(self, lake: MemoryLake, database: MemoryDatabase, settings: ControlSettings) -> None:
        db: Any = database
        bucket: Any = lake  # of both only what gc asks
        self._collector = Collector(db, bucket, settings, "cli:operator", wait=self._pause)
        self._loop = asyncio.new_event_loop()
        self._paused, self._woken = asyncio.Event(), asyncio.Event()
        self._collecting: asyncio.Task[None] | None = None
        self.pause_seconds = 0.0

    @property
    def is_in_its_pause(self) -> bool:
        return self._collecting is not None

    def look(self) -> Collected:
        return self._loop.run_until_complete(self._collector.look())

    def begin(self, found: Collected) -> None:
        """Remove the markers of what was found, and stand in the pause; unless it is killed, or nothing was found."""
        self._paused.clear()
        self._woken.clear()
        self._collecting = self._loop.create_task(self._collector.collect(found))
        self._run_until(self._paused)

    def go_on(self) -> bool:
        """Do what comes after the pause; return whether it was not killed."""
        self._woken.set()
        task = self._collecting
        self._run_until(asyncio.Event())
        return task is not None and task.exception() is None

    def kill(self) -> None:
        if self._collecting is not None:
            self._collecting.cancel()
            self._run_until(asyncio.Event())

    def close(self) -> None:
        self.kill()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _pause(self, seconds: float) -> None:
        self.pause_seconds = seconds
        self._paused.set()
        await self._woken.wait()

    def _run_until(self, event: asyncio.Event) -> None:
        """Let it work until ``event``, or its end."""
        task = self._collecting
        assert task is not None

        async def either() -> None:
            waiting = asyncio.create_task(event.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

        self._loop.run_until_complete(either())
        if task.done():
            self._collecting = None
            with suppress(KilledError, asyncio.CancelledError):
                task.result()
