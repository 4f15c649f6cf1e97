"""Backfills become processes: a window at a time, so that neither the backlog nor a transaction grows with them.

What a worker makes of one chunk is one transaction: the processes, the entities that go, the counts. Killed anywhere it
has done all of that or nothing, and two workers at once do not make anything twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import RowMapping, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.backfills import BackfillRequest, BackfillState
from contracts.problems import ProblemError
from contracts.states import State
from contracts.tenancy import Tenant
from control.accepting.accept import store
from control.accepting.inputs import InputCheck
from control.accepting.planning import Plan, plan_of
from control.accepting.submission import Submission
from control.backfills.counts import is_active
from control.backfills.tables import backfill_entities, backfills
from control.backfills.turns import next_turn
from control.outcomes import decide_end
from control.snapshots import CommitReader
from control.tables import ACTIVE_SQL, processes
from control.tenancy.tenants import get as get_tenant
from control.together import together
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

CHUNK = 50
PLANNED_AT_ONCE = 8
PLAN_SECONDS = 30.0
"""A lake that answers slowly ends a chunk early, so that the others have their turn."""
MAKE_SECONDS = 1.0
"""So does a slow database or machine: until it ends, a transaction holds its coordinates and keeps old rows."""
FORGOTTEN_AT_ONCE = 10_000
"""Entities of a cancelled backfill that are removed by one transaction: a tenth of a second."""
_TO_SKIP = {"version_already_published", "version_retired", "process_active"}
_TO_WAIT_FOR = {"backlog_full", "recovering", "unknown_action"}


@dataclass(frozen=True, slots=True)
class Expander:
    """Works on backfills. ``inputs`` is asked as for single submits."""

    db: Database
    lake: CommitReader
    inputs: InputCheck
    settings: ControlSettings

    async def step(self) -> int:
        """Do one chunk of the backfill whose turn it is; returns for how many entities something was done.

        Raises DatabaseUnavailableError.
        """
        async with self.db.reading() as conn:
            row = (await conn.execute(next_turn())).mappings().one_or_none()
            if row is None:
                return 0
            tenant = await get_tenant(conn, row["tenant_id"])
        if row["state"] == BackfillState.CANCELLING:
            return await self._cancel(row)
        return await self._expand(row, tenant)

    async def _expand(self, row: RowMapping, tenant: Tenant) -> int:
        async with self.db.reading() as conn:
            mine = select(backfill_entities.c.entity_id).where(backfill_entities.c.backfill_id == row["id"])
            first = mine.order_by(backfill_entities.c.entity_id).limit(min(CHUNK, row["room"]))
            chosen = list((await conn.execute(first)).scalars())
        plans = await self._plan_all(row, tenant, sorted(chosen))  # the one order in which everybody takes coordinates
        async with self.db.transaction() as conn:
            # Locked until the end: whoever else has chosen the same entities finds them gone.
            if not await _lock_expanding(conn, row["id"]):
                return 0
            left = await _still_there(conn, row["id"], chosen)
            counts = await _make(conn, [plan for plan in plans if plan.entity_id in left])
            await _note(conn, row["id"], counts)
            crash_point("B1")
        crash_point("B2")
        return len(counts.done)

    async def _plan_all(self, row: RowMapping, tenant: Tenant, entity_ids: Sequence[str]) -> list["_Planned"]:
        """Plan the first of them: all, or as many as ``PLAN_SECONDS`` allow."""
        plans: list[_Planned] = []
        until = monotonic() + PLAN_SECONDS
        for start in range(0, len(entity_ids), PLANNED_AT_ONCE):
            some = entity_ids[start : start + PLANNED_AT_ONCE]
            plans += await together(self._plan(row, tenant, entity_id) for entity_id in some)
            if monotonic() > until:
                break
        return plans

    async def _plan(self, row: RowMapping, tenant: Tenant, entity_id: str) -> "_Planned":
        try:
            asked = BackfillRequest.model_validate({**row["request"], "select": {"entities": [entity_id]}})
            request = asked.process_at(entity_id)
            plan = await plan_of(self.db, self.inputs, self.settings, tenant, request)
        except ProblemError as refusal:
            return _Planned(entity_id, None, None, refusal)
        except ValidationError as error:
            told = ProblemError("validation_failed", str(error.errors()[0]["msg"]))
            return _Planned(entity_id, None, None, told)
        submission = Submission(tenant, request, _actor(row), backfill_id=row["id"])
        return _Planned(entity_id, plan, submission, None)

    async def _cancel(self, row: RowMapping) -> int:
        """End what has not ended, and forget what was not begun, a chunk at a time; then the backfill is over."""
        async with self.db.transaction() as conn:
            forgotten = await _forget(conn, row["id"])
            mine = (processes.c.backfill_id == row["id"], ACTIVE_SQL, processes.c.ending.is_(None))
            ids = (await conn.execute(select(processes.c.id).where(*mine).limit(CHUNK))).scalars().all()
            is_over = forgotten < FORGOTTEN_AT_ONCE and not await conn.scalar(select(is_active(row["id"])))
            state = BackfillState.CANCELLED if is_over else BackfillState.CANCELLING
            still = backfills.c.state == BackfillState.CANCELLING.value
            await conn.execute(_touch(row["id"]).where(still).values(state=state.value))
        # Decided here, carried out by the reconciler: a lake that hangs must not keep this loop.
        for process_id in ids:
            await decide_end(self.db, process_id, State.CANCELLED, None, _actor(row))
        return len(ids) + forgotten


@dataclass(frozen=True, slots=True)
class _Planned:
    """What an entity becomes: a plan with its submission, or a refusal."""

    entity_id: str
    plan: Plan | None
    submission: Submission | None
    refusal: ProblemError | None


@dataclass(slots=True)
class _Counts:
    done: list[str] = field(default_factory=list)
    """Entities that were looked at."""
    skipped: int = 0
    refused: int = 0
    last_refusal: str | None = None


async def _lock_expanding(conn: AsyncConnection, backfill_id: UUID) -> bool:
    query = select(backfills.c.state).where(backfills.c.id == backfill_id).with_for_update()
    return await conn.scalar(query) == BackfillState.EXPANDING


async def _still_there(conn: AsyncConnection, backfill_id: UUID, chosen: Sequence[str]) -> set[str]:
    entity_id = backfill_entities.c.entity_id
    query = select(entity_id).where(backfill_entities.c.backfill_id == backfill_id, entity_id.in_(chosen))
    return set((await conn.execute(query)).scalars())


async def _make(conn: AsyncConnection, plans: Sequence[_Planned]) -> _Counts:
    """Make the first of them: all, or as many as ``MAKE_SECONDS`` allow."""
    counts, until = _Counts(), monotonic() + MAKE_SECONDS
    for each in plans:
        if counts.done and monotonic() > until:
            break
        refusal = each.refusal or await _store(conn, each)
        code = refusal.problem.code if refusal else None
        if code in _TO_WAIT_FOR:
            break  # the rest is made when that is over
        counts.done.append(each.entity_id)
        if code in _TO_SKIP:
            counts.skipped += 1
        elif refusal is not None:
            counts.refused += 1
            counts.last_refusal = f"{each.entity_id}: {refusal}"
    return counts


async def _store(conn: AsyncConnection, each: _Planned) -> ProblemError | None:
    if each.plan is not None and each.submission is not None:
        try:
            async with conn.begin_nested():
                await store(conn, each.plan, each.submission)
        except ProblemError as refusal:
            return refusal
    return None


async def _forget(conn: AsyncConnection, backfill_id: UUID) -> int:
    mine = backfill_entities.c.backfill_id == backfill_id
    some = select(backfill_entities.c.entity_id).where(mine).limit(FORGOTTEN_AT_ONCE)
    gone = await conn.execute(delete(backfill_entities).where(mine, backfill_entities.c.entity_id.in_(some)))
    return gone.rowcount


async def _note(conn: AsyncConnection, backfill_id: UUID, counts: _Counts) -> None:
    mine = backfill_entities.c.backfill_id == backfill_id
    await conn.execute(delete(backfill_entities).where(mine, backfill_entities.c.entity_id.in_(counts.done)))
    rest = select(backfill_entities.c.entity_id).where(mine).limit(1)
    values: dict[str, Any] = {
        "looked_at": backfills.c.looked_at + len(counts.done),
        "skipped": backfills.c.skipped + counts.skipped,
        "refused": backfills.c.refused + counts.refused,
    }
    if counts.last_refusal is not None:
        values["last_refusal"] = counts.last_refusal
    if await conn.scalar(rest) is None:
        values["state"] = BackfillState.EXPANDED.value
    await conn.execute(_touch(backfill_id).values(values))


def _actor(row: RowMapping) -> str:
    """Who makes and ends its processes. Who asked for it, and who steered it, is in the admin log."""
    return f"backfill:{row['id']}"


def _touch(backfill_id: UUID) -> Any:
    return update(backfills).where(backfills.c.id == backfill_id).values(updated_at=func.now())
