"""One running stack as the end-to-end tests see it: through its public doors, and through its final records."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import text

from cli.client import ApiClient
from cli.demo.receiver import CallbackReceiver
from contracts.callbacks import Callback
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.states import State
from contracts.storage import commit_key, landing_prefix
from deploy.local.stack import Stack
from resources.database import Database
from resources.lake.store import S3Lake
from resources.settings import ControlSettings

T = TypeVar("T")

FLIGHTS_CSV = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,"
    "dest,air_time,distance,hour,minute,time_hour\n"
    "2013,1,1,517.0,515,2.0,830.0,819,11.0,UA,1545,N14228,EWR,IAH,227.0,1400,5,15,2013-01-01T10:00:00Z\n"
    "2013,1,1,533.0,529,4.0,850.0,830,20.0,UA,1714,N24211,LGA,IAH,227.0,1416,5,29,2013-01-01T10:00:00Z\n"
    "2013,1,2,,600,,,715,,UA,269,N413UA,JFK,ATL,,760,6,0,2013-01-02T11:00:00Z\n"
)
RUN_SECONDS = 150
"""A run on two busy cores, with its Spark's cold start, surely ends in this time."""


def wait_for(what: str, probe: Callable[[], T | None], seconds: float, *, every: float = 0.1) -> T:
    """Return the first true answer of ``probe``, asked ``every`` so often; fail with ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(every)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass
class World:
    """The stack, a client with a key, and a receiver of callbacks."""

    stack: Stack
    settings: ControlSettings
    client: ApiClient
    receiver: CallbackReceiver
    faults: Path

    @property
    def lake(self) -> S3Lake:
        return S3Lake(self.settings, self.settings.lake_bucket)

    def land_flights(self) -> Coordinate:
        """Deliver raw flights for an entity that no other test uses; return the coordinate they will be ingested to."""
        target = Coordinate(f"e2e-{uuid4().hex[:12]}", "2013-01", "flights")
        landing = S3Lake(self.settings, self.settings.landing_bucket)
        landing.put(f"{landing_prefix(target)}flights.csv", FLIGHTS_CSV.encode())
        return target

    def submit(self, target: Coordinate, action: str = "ingest_flights", **fields: Any) -> str:
        """Submit one process with a callback; return its id. The field ``key`` is an Idempotency-Key."""
        key = fields.pop("key", None)
        place = {"entity_id": target.entity_id, "data_version": target.data_version, "action": action}
        request = {**place, "callback_url": self.receiver.url, **fields}
        return str(self.client.submit(request, idempotency_key=key)["process_id"])

    def reach(self, process_id: str, *states: State, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """Return the process once it is in one of ``states``, or has ended where none is named."""

        def reached() -> dict[str, Any] | None:
            process = self.client.process(process_id)
            state = State(process["state"])
            return process if (state in states if states else state.is_terminal) else None

        return wait_for(f"{process_id} is {' or '.join(states) or 'terminal'}", reached, seconds)

    def finish(self, process_id: str, *, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """Return the process once it has ended and its callback has come."""
        process = self.reach(process_id, seconds=seconds)
        wait_for(f"the callback of {process_id}", lambda: self.callback_of(process_id), 60)
        return process

    def callback_of(self, process_id: str) -> Callback | None:
        """Return the callback that came for a process; two different ones fail."""
        found = [each for each in list(self.receiver.callbacks.queue) if str(each.data.process_id) == process_id]
        assert len(found) <= 1, f"{len(found)} callbacks for {process_id}"
        return found[0] if found else None

    def arm(self, point: str, how: str) -> None:
        """Let the next process that reaches ``point`` be killed or stopped there."""
        whole = self.faults / f".{point}"
        whole.write_text(how)
        whole.rename(self.faults / point)

    def hit(self, point: str, seconds: float = RUN_SECONDS) -> int:
        """Wait until a process has died or stopped at ``point``; return its pid."""

        def claimed() -> Path | None:
            return next(iter(self.faults.glob(f"{point}.*.claimed")), None)

        found = wait_for(f"nobody reached {point}", claimed, seconds)
        found.rename(self.faults / f"{found.name}.seen")
        return int(found.name.split(".")[1])

    def resume(self, pid: int) -> None:
        """Let a stopped process go on."""
        os.kill(pid, signal.SIGCONT)

    def commit(self, target: Coordinate) -> Commit | None:
        """Return what is committed at a coordinate."""
        data = self.lake.get(commit_key(target))
        return None if data is None else Commit.parse(data, target)

    def token_folders(self, target: Coordinate) -> set[str]:
        """Return the tokens that left files at a coordinate."""
        prefix = f"{target}/"
        keys = [entry.key.removeprefix(prefix) for entry in self.lake.list(prefix)]
        return {key.split("/")[0] for key in keys} - {"_delta_log"}

    def rows(self, statement: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return what the control plane's database holds."""
        return asyncio.run(_rows(self.settings, statement, dict(values or {})))

    def events(self, process_id: str) -> list[str]:
        """Return the kinds of a process's events, in order."""
        statement = "SELECT kind FROM process_events WHERE process_id = :id ORDER BY id"
        return [row["kind"] for row in self.rows(statement, {"id": UUID(process_id)})]

    def assert_one_outcome(self, process_id: str, target: Coordinate) -> None:
        """Read only what was recorded: one terminal event, one commit, one callback id, and they agree."""
        ends = [
            kind for kind in self.events(process_id) if kind in {state.value for state in State if state.is_terminal}
        ]
        assert ends == [State.SUCCEEDED.value]
        commit = self.commit(target)
        assert commit is not None
        assert str(commit.provenance.process_id) == process_id
        # The receiver has it a moment before the worker has noted that.
        wait_for(f"{process_id} is called back once", lambda: self.deliveries(process_id) == ["delivered"], 10)

    def deliveries(self, process_id: str) -> list[str]:
        """Return the states of a process's callbacks."""
        rows = self.rows("SELECT state FROM deliveries WHERE process_id = :id", {"id": UUID(process_id)})
        return [row["state"] for row in rows]


async def _rows(settings: ControlSettings, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    db = Database(settings.database_url, pool_size=2)
    try:
        async with db.transaction() as conn:
            result = await conn.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []
    finally:
        await db.close()
