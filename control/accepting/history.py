"""What earlier successful runs of an action used, remembered for a moment: it changes what is granted, not whether.

The newest, and the newest of those that were tried more than once: in a fleet of entities, what one of them needed is
not among the newest when its next version comes.

A tenant's own runs only: what those of others read is none of its business.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, select, union

from contracts.messages import Profile
from contracts.reasons import ReasonCode
from contracts.states import State
from contracts.storage import Stage
from control.rules.sizing import Past, size_of
from control.tables import AGAIN_SQL, SUCCEEDED_SQL, process_events, processes
from resources.database import Database

REMEMBER_SECONDS = 60.0
_RUNS, _TRIED_AGAIN = 20, 100
_MOST = 10_000  # of remembered (tenant, action)


def _used() -> Select[Any]:
    of_action = (processes.c.tenant_id == bindparam("tenant_id"), processes.c.action == bindparam("action"))
    ended = select(processes.c.id, processes.c.entity_id, processes.c.finished_at).where(*of_action)
    ended = ended.order_by(processes.c.finished_at.desc())
    newest, again = ended.where(SUCCEEDED_SQL).limit(_RUNS), ended.where(AGAIN_SQL).limit(_TRIED_AGAIN)
    runs = union(newest, again).subquery("runs")
    failed = process_events.alias("failed")
    is_memory = failed.c.detail["reason"]["code"].astext == ReasonCode.OUT_OF_MEMORY.value
    was_short = select(failed).where(failed.c.process_id == runs.c.id, failed.c.kind == "attempt_failed", is_memory)
    told = select(runs.c.entity_id, process_events.c.detail, was_short.exists().label("was_short"))
    told = told.join(runs, runs.c.id == process_events.c.process_id)
    return told.where(process_events.c.kind == State.SUCCEEDED.value).order_by(runs.c.finished_at.desc())


_USED = _used()


class History:
    """Looks up, for the whole process that accepts."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, tuple[tuple[str, Past], ...]]] = {}

    async def of(self, tenant_id: str, action: str, entity_id: str) -> tuple[Past, ...]:
        """Return what runs used, the newest first, as was known at most a minute ago, and which were the entity's."""
        runs = await self._runs(tenant_id, action)
        return tuple(replace(run, is_own=entity == entity_id) for entity, run in runs)

    async def _runs(self, tenant_id: str, action: str) -> tuple[tuple[str, Past], ...]:
        """Return (entity, what it used) of each; one query for all entities, so that most submits need none."""
        now, key = self._clock(), (tenant_id, action)
        until, past = self._known.get(key, (0.0, ()))
        if now < until:
            return past
        async with self._db.reading() as conn:
            rows = (await conn.execute(_USED, {"tenant_id": tenant_id, "action": action})).all()
        past = tuple(
            (entity, replace(run, was_short=was_short))
            for entity, detail, was_short in rows
            if (run := past_of(detail)) is not None
        )
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = now + REMEMBER_SECONDS, past
        return past


def past_of(detail: Mapping[str, Any]) -> Past | None:
    """Return what the commit in the event ``detail`` says of its run; None when it says too little."""
    used, stages = detail.get("resources", {}), detail.get("stages", {})
    try:
        granted = Profile.model_validate(used["granted"])
        began = stages.get(Stage.EXECUTORS_READY) or stages[Stage.SPARK_READY]
        seconds = (datetime.fromisoformat(stages[Stage.AUDITED]) - datetime.fromisoformat(began)).total_seconds()
        executors = min(int(used.get("executors", 0)), granted.executor_instances)  # dead ones are counted too
        heap = executors * used["executor_peak_heap_bytes"] if executors else used["driver_peak_heap_bytes"]
        # An executor that ended before its first heartbeat has told no heap.
        return Past(int(used["input_bytes"]), float(heap), seconds * size_of(granted)[1]) if heap else None
    except (KeyError, TypeError, ValueError):
        return None
