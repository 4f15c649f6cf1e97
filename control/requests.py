"""What a tenant asks of a process that exists: to end it, and to do an ended one again."""

from collections.abc import Collection
from uuid import UUID

from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.states import State
from control.accepting.accept import Answer, accept
from control.accepting.inputs import InputCheck
from control.accepting.submission import Submission
from control.outcomes import end_process
from control.rules.endings import decided_end
from control.snapshots import CommitReader
from control.tenancy.keys import Caller
from control.tenancy.ownership import own_process
from resources.database import Database
from resources.settings import ControlSettings

RETRIABLE = frozenset({State.FAILED, State.CANCELLED, State.EXPIRED})
"""The ends of a process that may be done again."""


async def cancel(db: Database, lake: CommitReader, settings: ControlSettings, caller: Caller, process_id: UUID) -> None:
    """End a process that has not ended: at once, or as soon as no commit of it can appear any more.

    A commit that is there, or appears until then, wins: the process has succeeded. Cancelling again changes nothing.
    Raises ProblemError: not_found, and process_ended when another end came or was decided first.
    """
    if await _is_decided(db, caller, process_id, {State.CANCELLED}):
        return
    is_ours = await end_process(db, lake, process_id, State.CANCELLED, None, caller.actor, settings=settings)
    # It may have come to another end since it was read, and somebody else's commit may have overruled ours.
    await _is_decided(db, caller, process_id, {State.CANCELLED, State.SUCCEEDED} if is_ours else {State.CANCELLED})


async def _is_decided(db: Database, caller: Caller, process_id: UUID, wanted: Collection[State]) -> bool:
    """Return whether it is decided how the process ends.

    Raises ProblemError: not_found, and process_ended when it is decided but not ``wanted``.
    """
    async with db.reading() as conn:
        row = await own_process(conn, caller.tenant_id, process_id)
    end = decided_end(row)
    if end is not None and end not in wanted:
        raise ProblemError("process_ended", f"the process ends as {end.value}", state=row["state"])
    return end is not None


async def retry(
    db: Database, inputs: InputCheck, settings: ControlSettings, caller: Caller, process_id: UUID, key: str | None
) -> Answer:
    """Make a new process of an ended one's request.

    Raises ProblemError: not_found, process_not_retriable, and what ``accept`` raises: the action, its inputs and the
    tenant's bounds are those of now.
    """
    async with db.reading() as conn:
        row = await own_process(conn, caller.tenant_id, process_id)
    state = State(row["state"])
    if state not in RETRIABLE:
        raise ProblemError("process_not_retriable", f"the process is {state.value}", process_id=str(process_id))
    request = ProcessRequest.model_validate(row["request"])
    again = Submission(caller.tenant, request, caller.actor, key, retry_of=process_id)
    return await accept(db, inputs, settings, again)
