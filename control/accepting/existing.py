"""Ask for what is there already: ``on_conflict=use_existing`` joins the process that computes or has computed it."""

from dataclasses import asdict
from datetime import timedelta
from uuid import UUID

from sqlalchemy import RowMapping, exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.states import State
from contracts.strict_json import canonical
from control.accepting.inputs import resolve
from control.accepting.planning import Plan
from control.tables import ACTIVE_SQL, deliveries, processes, subscribers
from control.transitions import deliver, lock, note
from resources.database import Database

MAX_SUBSCRIBERS = 32
"""Addresses that hear of one process beside its requester's own."""
_LOOK_BACK = timedelta(days=1)
_BATCH = 500


async def join(conn: AsyncConnection, plan: Plan, actor: str) -> UUID | None:
    """Let the plan's callback, as ``actor`` asks, hear of the tenant's process at its target; returns that process.

    None when the tenant has none there that is under way or has succeeded. Raises ProblemError (conflicting_request,
    too_many_subscribers).
    """
    row = await _at_target(conn, plan)
    if row is None:
        return None
    _must_ask_for_the_same(row, plan)
    if plan.callback_url not in {None, row["callback_url"]}:
        await _subscribe(conn, row, str(plan.callback_url), actor)
    return UUID(str(row["id"]))


async def deliver_missed(db: Database) -> int:
    """Let subscribers hear of what has ended without them; returns how many.

    An older worker that ends a process, during an upgrade, does not know them. Raises DatabaseUnavailableError.
    """
    is_told = exists().where(deliveries.c.process_id == processes.c.id, deliveries.c.url == subscribers.c.url)
    missed = select(processes, subscribers.c.url.label("subscriber")).join(
        subscribers, subscribers.c.process_id == processes.c.id
    )
    ended = processes.c.finished_at > func.now() - _LOOK_BACK
    async with db.transaction() as conn:
        rows = (await conn.execute(missed.where(ended, ~is_told).limit(_BATCH))).mappings().all()
        for row in rows:
            await deliver(conn, row, row["subscriber"])
    return len(rows)


async def _at_target(conn: AsyncConnection, plan: Plan) -> RowMapping | None:
    target, mine = plan.target, processes.c
    is_there = (mine.entity_id == target.entity_id, mine.data_version == target.data_version)
    found = select(mine.id).where(*is_there, mine.dataset == target.dataset, mine.tenant_id == plan.tenant.id)
    active = await conn.scalar(found.where(ACTIVE_SQL))
    process_id = active or await conn.scalar(found.where(mine.state == State.SUCCEEDED.value))
    row = None if process_id is None else await lock(conn, process_id)
    # It may have failed since it was found, and then the coordinate is free.
    is_worth = row is not None and (row["state"] == State.SUCCEEDED or not State(row["state"]).is_terminal)
    return row if is_worth else None


def _must_ask_for_the_same(row: RowMapping, plan: Plan) -> None:
    theirs = ProcessRequest.model_validate(row["request"])
    if row["action"] == plan.action.name:
        places = [
            {name: asdict(place) for name, place in inputs.items()}
            for inputs in (resolve(theirs, plan.action), plan.inputs)
        ]
        # As JSON: to Python True would be 1.
        if canonical(theirs.params) == canonical(plan.request.params) and places[0] == places[1]:
            return
    raise ProblemError(
        "conflicting_request",
        f"{plan.target} was asked for with another action, other params or other inputs",
        process_id=str(row["id"]),
    )


async def _subscribe(conn: AsyncConnection, row: RowMapping, url: str, actor: str) -> None:
    """Tell ``url`` of the end: now when the process has ended, which nobody can change while it is locked."""
    has_ended = State(row["state"]).is_terminal
    told = (deliveries if has_ended else subscribers).c
    others = (told.process_id == row["id"], told.url.not_in([url, *filter(None, [row["callback_url"]])]))
    count = (await conn.execute(select(func.count()).where(*others))).scalar_one()
    if count >= MAX_SUBSCRIBERS:
        raise ProblemError(
            "too_many_subscribers", f"{count} other addresses hear of this process already", process_id=str(row["id"])
        )
    if has_ended:
        await deliver(conn, row, url)
        return
    added = upsert(subscribers).values(process_id=row["id"], url=url).on_conflict_do_nothing()
    if (await conn.execute(added)).rowcount:
        await note(conn, row, kind="subscribed", actor=actor, detail={"url": url})
