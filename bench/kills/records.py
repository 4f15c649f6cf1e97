"""What is recorded when all is over: the control plane's tables, Dagster's runs, and what lies in the lake."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.storage import token_prefix
from resources.database import Database
from resources.lake.store import Lake

Rows = list[dict[str, Any]]

_PROCESSES = """
    SELECT id::text, state, attempt, entity_id, data_version, dataset, callback_url FROM processes ORDER BY id
"""
_ENDS = """
    SELECT process_id::text, kind FROM process_events WHERE kind IN ('succeeded', 'failed', 'cancelled', 'expired')
"""
_DELIVERIES = "SELECT id::text, process_id::text, state FROM deliveries"
_OUTBOX = "SELECT process_id::text FROM outbox"
_UNSETTLED = """
    SELECT (SELECT count(*) FROM processes WHERE state IN ('accepted', 'queued', 'running'))
         + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM deliveries WHERE state = 'pending')
"""
_STUCK_LOCKS = """
    SELECT lock.objid FROM pg_locks AS lock JOIN pg_stat_activity AS holder USING (pid)
    WHERE lock.locktype = 'advisory' AND now() - holder.state_change > interval '15 s'
"""
_RUNS = """
    SELECT run.run_id, run.status, tag.value AS launch_id FROM runs AS run JOIN run_tags AS tag USING (run_id)
    WHERE tag.key = 'lakemill/launch_id'
"""
_LIVE_RUNS = "SELECT count(*) FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
_COMMIT_KEY = re.compile(r"([^/]+)/([^/]+)/([^/]+)/_delta_log/(.+)")


@dataclass(frozen=True, slots=True)
class Records:
    """The final state of everything, as rows; ``objects`` maps the lake's keys to sizes in bytes."""

    processes: Rows
    ends: Rows
    deliveries: Rows
    outbox: Rows
    locks: Rows
    runs: Rows
    objects: dict[str, int]
    commits: dict[Coordinate, list[Commit]]


class Recorder:
    """Reads the records. Only the final reading is judged; the count before says when there is something to judge."""

    def __init__(self, control: SecretStr, dagster: SecretStr, lake: Lake) -> None:
        """Remember the addresses of the two databases, and the lake; nothing is asked yet."""
        self._control = control
        self._dagster = dagster
        self._lake = lake

    async def unsettled(self) -> int:
        """Return how many processes, records, callbacks and runs are not at their end."""
        counted = [*await self._rows(self._control, _UNSETTLED), *await self._rows(self._dagster, _LIVE_RUNS)]
        return sum(int(value) for row in counted for value in row.values())

    async def read(self) -> Records:
        """Read everything."""
        objects = {entry.key: entry.size for entry in self._lake.list("")}
        return Records(
            processes=await self._rows(self._control, _PROCESSES),
            ends=await self._rows(self._control, _ENDS),
            deliveries=await self._rows(self._control, _DELIVERIES),
            outbox=await self._rows(self._control, _OUTBOX),
            locks=await self._rows(self._control, _STUCK_LOCKS),
            runs=await self._rows(self._dagster, _RUNS),
            objects=objects,
            commits=self._commits(objects),
        )

    def _commits(self, keys: Iterable[str]) -> dict[Coordinate, list[Commit]]:
        found: dict[Coordinate, list[Commit]] = defaultdict(list)
        for key in keys:
            if matched := _COMMIT_KEY.fullmatch(key):
                place = Coordinate(matched[1], matched[2], matched[3])
                found[place].append(Commit.parse(self._lake.get(key) or b"", place))
        return dict(found)

    async def _rows(self, url: SecretStr, statement: str) -> Rows:
        db = Database(url, pool_size=2)
        try:
            async with db.transaction() as conn:
                return [dict(row) for row in (await conn.execute(text(statement))).mappings()]
        finally:
            await db.close()


def missing_files(commit: Commit, objects: dict[str, int]) -> list[str]:
    """Return the data files that a commit names and that do not lie there with their size."""
    folder = token_prefix(commit.coordinate, commit.provenance.token)
    return [folder + file.name for file in commit.files if objects.get(folder + file.name) != file.size]
