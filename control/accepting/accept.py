"""Accept: a request becomes a process, once, by one statement or in one transaction.

The statement is three round trips less, and enough where nothing is in the way.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.problems import ProblemError
from contracts.states import State
from contracts.views import Accepted
from control.accepting.conflicts import has_room, refuse_active, refuse_backlog, refuse_published
from control.accepting.existing import join
from control.accepting.inputs import InputCheck
from control.accepting.planning import Plan, plan_of
from control.accepting.rows import write, write_alone
from control.accepting.submission import Submission
from control.recovery.state import refuse_while_recovering
from control.statements import insert_if_free
from control.tables import idempotency_keys
from control.tenancy.ownership import refuse_claimed
from resources.database import Database
from resources.faults import crash_point
from resources.settings import ControlSettings

_TRIES = 5
_JOINABLE = frozenset({"process_active", "version_already_published", "backlog_full"})
"""Refusals that a process at the target may stand behind. Joining one adds nothing to the backlog."""
_FIRST_ANSWER = select(idempotency_keys.c.request_hash, idempotency_keys.c.response).where(
    idempotency_keys.c.tenant_id == bindparam("tenant_id"), idempotency_keys.c.key == bindparam("key")
)
_KEY_IF_FREE = insert_if_free(idempotency_keys, "tenant_id key request_hash process_id response", "(tenant_id, key)")


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a 202, and whether an earlier request with this Idempotency-Key got it first."""

    body: dict[str, Any]
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """The process that was there already."""

    process_id: UUID


async def accept(db: Database, inputs: InputCheck, settings: ControlSettings, submission: Submission) -> Answer:
    """Make a process, or return the first answer to the same Idempotency-Key.

    Raises ProblemError: idempotency_key_reused, unknown_action, action_changed, recovering, validation_failed,
    callback_forbidden, source_forbidden, missing_input, not_found, backlog_full, process_active,
    version_already_published, version_retired. Nothing is stored then.
    """
    plan = await planned(db, inputs, settings, submission)
    return plan if isinstance(plan, Answer) else await _store(db, plan, submission)


async def accept_or_join(
    db: Database, inputs: InputCheck, settings: ControlSettings, submission: Submission
) -> Answer | Joined:
    """Do as ``accept`` does, but where the tenant has a process at the same target already, join that one.

    Raises what ``accept`` and ``join`` raise.
    """
    plan = await planned(db, inputs, settings, submission)
    if isinstance(plan, Answer):
        return plan
    for _ in range(_TRIES):
        try:
            return await _store(db, plan, submission)
        except ProblemError as refusal:
            if refusal.problem.code not in _JOINABLE:
                raise
            async with db.transaction() as conn:
                joined = await join(conn, plan, submission.actor)
            if joined is not None:
                return Joined(joined)
            if refusal.problem.code != "process_active":  # published by somebody else, or nothing there and no room
                raise
    raise ProblemError("process_active", f"{plan.target}: processes come and go; try again")


async def planned(db: Database, inputs: InputCheck, settings: ControlSettings, submission: Submission) -> Plan | Answer:
    """Return what may be stored, or the first answer to the same Idempotency-Key. Raises ProblemError."""
    try:
        return await plan_of(db, inputs, settings, submission.tenant, submission.request)
    except ProblemError:
        # The first answer stands, whatever has become of the action and its inputs since.
        async with db.reading() as conn:
            first = await _first_answer(conn, submission)
        if first is None:
            raise
        return first


async def _store(db: Database, plan: Plan, submission: Submission) -> Answer:
    async with db.reading() as conn:
        answer = await _store_at_once(conn, plan, submission)
    if answer is None:
        # What is in the way is told, or waited for, in steps.
        async with db.transaction() as conn:
            answer = await store(conn, plan, submission)
    crash_point("A3")
    return answer


async def _store_at_once(conn: AsyncConnection, plan: Plan, submission: Submission) -> Answer | None:
    """Make the process of ``plan`` by one statement; None, and nothing is written, where anything is in the way."""
    if not await has_room(conn, plan.tenant):
        return None
    process_id = uuid_utils.compat.uuid7()
    body = _body(plan, process_id)
    crash_point("A1")
    return Answer(body) if await write_alone(conn, plan, submission, process_id, body) else None


async def _first_answer(conn: AsyncConnection, submission: Submission) -> Answer | None:
    if submission.key is None:
        return None
    asked = {"tenant_id": submission.tenant.id, "key": submission.key}
    row = (await conn.execute(_FIRST_ANSWER, asked)).one_or_none()
    if row is None:
        return None
    if row.request_hash != submission.key_hash():
        raise ProblemError("idempotency_key_reused", "this Idempotency-Key was accepted with another body")
    return Answer(row.response, is_repeated=True)


async def store(conn: AsyncConnection, plan: Plan, submission: Submission) -> Answer:
    """Make the process of ``plan``, unless the Idempotency-Key was taken meanwhile. Raises ProblemError."""
    process_id = uuid_utils.compat.uuid7()
    body = _body(plan, process_id)
    if submission.key is not None:
        first = await _claim_key(conn, submission, process_id, body)
        if first is not None:
            return first
    await refuse_backlog(conn, plan.tenant)
    await _take(conn, plan, submission, process_id)
    # A statement of its own: it sees what was published while the coordinate was waited for.
    await refuse_published(conn, plan.target)
    crash_point("A2")
    return Answer(body)


def _body(plan: Plan, process_id: UUID) -> dict[str, Any]:
    return Accepted(
        process_id=process_id,
        state=State.ACCEPTED,
        entity_id=plan.request.entity_id,
        data_version=plan.request.data_version,
        action=plan.action.name,
        dataset=plan.action.dataset,
        accepted_at=plan.planned_at,
        deadline_at=plan.deadline_at,
        links={"self": f"/v1/processes/{process_id}"},
    ).model_dump(mode="json")


async def _claim_key(
    conn: AsyncConnection, submission: Submission, process_id: UUID, body: dict[str, Any]
) -> Answer | None:
    """Take the key, or return its first answer. A rival that holds it uncommitted is waited for."""
    row = {
        "tenant_id": submission.tenant.id,
        "key": submission.key,
        "request_hash": submission.key_hash(),
        "process_id": process_id,
        "response": body,
    }
    for _ in range(_TRIES):
        if (await conn.execute(_KEY_IF_FREE, row)).rowcount == 1:
            return None
        first = await _first_answer(conn, submission)
        if first is not None:
            return first
    raise ProblemError("database_unavailable", "the Idempotency-Key changed hands too often")


async def _take(conn: AsyncConnection, plan: Plan, submission: Submission, process_id: UUID) -> None:
    """Take the coordinate. Raises ProblemError: not_found for an entity that another tenant was faster to claim, or was
    given; recovering; process_active when another process has the coordinate.
    """
    for _ in range(_TRIES):
        if await write(conn, plan, submission, process_id):
            return
        await refuse_while_recovering(conn)
        await refuse_claimed(conn, plan.tenant, plan.target.entity_id)
        await refuse_active(conn, plan)
    raise ProblemError("process_active", f"{plan.target}: processes come and go; try again")
