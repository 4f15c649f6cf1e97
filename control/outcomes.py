"""How a process ends: the commit first, then the retry engine, and nothing final while a commit may still appear.

Two rules hold everything together. A commit in the lake decides, whatever was reported. And a non-success terminal
state is written only when no commit permit is live, what was sent in time must have arrived, and one more GET of the
commit, made after that moment, found nothing: from then on the store lets no presigned PUT of this process begin. What
no waiting can exclude (docs/decisions/0008-the-commit-and-its-permit.md) is told loudly when it happens.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.reasons import Reason, ReasonCode
from contracts.states import State
from contracts.storage import CorruptSnapshotError
from contracts.tenancy import TenantLimits
from contracts.views import GrantedProfile
from control.profiles import after_out_of_memory
from control.rules.endings import End, by_commit, by_decision, is_due, is_open, next_delay
from control.snapshots import CommitReader, FoundCommit, coordinate_of, read_commit, record
from control.tables import process_events, processes, tenants
from control.transitions import lock, move, next_attempt, note
from resources.database import Database
from resources.lake.store import LakeError
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)


async def settle_by_commit(db: Database, lake: CommitReader, process_id: UUID) -> bool:
    """End the process if its coordinate is committed; returns whether it stands at a terminal state now.

    Our own commit, of whichever attempt, makes it succeeded; anyone else's makes it failed, because that coordinate is
    taken for ever. A commit that cannot be read is logged and noted once, and settles nothing. A terminal state stays:
    our own commit that appeared after it is indexed, noted once, and logged as critical.
    Raises LakeError when the lake does not answer.
    """
    async with db.reading() as conn:
        row = (await conn.execute(select(processes).where(processes.c.id == process_id))).mappings().one()
    state = State(row["state"])
    if state is State.SUCCEEDED:
        return True
    try:
        found = await read_commit(lake, coordinate_of(row))
    except CorruptSnapshotError as error:
        log.error("commit.corrupt", process_id=str(process_id), error=str(error))  # noqa: TRY400 - it says it all
        await _note_corrupt(db, row, str(error))
        return state.is_terminal
    if found is None:
        return state.is_terminal
    is_ours = found.commit.provenance.process_id == process_id
    async with db.transaction() as conn:
        await record(conn, found)
        if await _end(conn, process_id, by_commit(row, found), "commit") is None and is_ours:
            await _note_after_the_end(conn, process_id, found)
    return True


async def end_attempt(
    db: Database,
    lake: CommitReader,
    process_id: UUID,
    attempt: int,
    reason: Reason,
    actor: str,
    *,
    settings: ControlSettings,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """React to an attempt that failed or died: success if it committed, else the next attempt, else the end.

    ``detail`` (JSON) goes into the event ``attempt_failed`` beside the reason. Does nothing when ``attempt`` is not
    current or the process is ending already. Never raises LakeError: what needs the lake is left to ``finish_pending``.
    """
    if await _settled(db, lake, process_id):
        return
    async with db.transaction() as conn:
        row = await _still_open(conn, process_id)
        if row is None or row["attempt"] != attempt:
            return
        said = {"reason": reason.model_dump(mode="json"), **(detail or {})}
        await note(conn, row, kind="attempt_failed", actor=actor, detail=said)
        delay = next_delay(attempt, reason, settings.max_attempts)
        if delay is not None:
            if reason.code is ReasonCode.OUT_OF_MEMORY:
                await _enlarge(conn, row)
            await next_attempt(conn, process_id, attempt, reason=reason, delay=delay, actor=actor)
            return
        await _decide(conn, row, State.FAILED, reason, actor)
    await _finish_now(db, lake, process_id, settings)


async def end_process(
    db: Database,
    lake: CommitReader,
    process_id: UUID,
    state: State,
    reason: Reason | None,
    actor: str,
    *,
    settings: ControlSettings,
) -> bool:
    """End a process as failed, cancelled or expired whatever its attempt: at once if that is safe, else when it is.

    The first decision stays; returns whether it is this one. A commit that appears before it takes effect wins. Never
    raises LakeError.
    """
    is_decided = await decide_end(db, process_id, state, reason, actor)
    if is_decided:
        await _finish_now(db, lake, process_id, settings)
    return is_decided


async def decide_end(db: Database, process_id: UUID, state: State, reason: Reason | None, actor: str) -> bool:
    """Decide how a process ends, and leave the rest to the reconciler; returns whether that was still open."""
    async with db.transaction() as conn:
        row = await _still_open(conn, process_id)
        if row is not None:
            await _decide(conn, row, state, reason, actor)
    return row is not None


async def finish_pending(db: Database, lake: CommitReader, process_id: UUID, *, settings: ControlSettings) -> bool:
    """Carry out a decided end once no permit is live; returns whether the process is terminal now.

    Raises LakeError when the lake does not answer: without the last look at the commit nothing may end.
    """
    async with db.transaction() as conn:
        if await _due(conn, process_id, settings) is None:
            return False
    # This GET is later than the permit's end, and no new permit is given to a process that is ending.
    if await settle_by_commit(db, lake, process_id):
        return True
    async with db.transaction() as conn:
        row = await _due(conn, process_id, settings)
        if row is not None:
            await _end(conn, process_id, by_decision(row), row["ending"]["actor"])
    return True


async def _still_open(conn: AsyncConnection, process_id: UUID) -> RowMapping | None:
    row = await lock(conn, process_id)
    return row if is_open(row) else None


async def _enlarge(conn: AsyncConnection, row: RowMapping) -> None:
    limits = await conn.scalar(select(tenants.c.limits).where(tenants.c.id == row["tenant_id"]))
    bounds = TenantLimits.model_validate(limits).profile
    profile = await after_out_of_memory(conn, GrantedProfile.model_validate(row["profile"]), bounds)
    change = update(processes).where(processes.c.id == row["id"])
    await conn.execute(change.values(profile=profile.model_dump(mode="json")))


async def _decide(conn: AsyncConnection, row: RowMapping, state: State, reason: Reason | None, actor: str) -> None:
    said = reason and reason.model_dump(mode="json")
    ending = {"state": state.value, "reason": said, "actor": actor}
    await conn.execute(update(processes).where(processes.c.id == row["id"]).values(ending=ending))
    await note(conn, row, kind="ending", actor=actor, detail={"state": state.value, "reason": said})


async def _due(conn: AsyncConnection, process_id: UUID, settings: ControlSettings) -> RowMapping | None:
    """Return the locked row of a process that is ending, whose last permit is dead and whose last PUT is delivered."""
    query = select(processes, func.now().label("now")).where(processes.c.id == process_id).with_for_update()
    row = (await conn.execute(query)).mappings().one_or_none()
    return row if row is not None and is_due(row, row["now"], settings) else None


async def _end(conn: AsyncConnection, process_id: UUID, end: End, actor: str) -> RowMapping | None:
    return await move(conn, process_id, end.state, actor=actor, detail=end.detail, columns=end.columns)


async def _settled(db: Database, lake: CommitReader, process_id: UUID) -> bool:
    try:
        return await settle_by_commit(db, lake, process_id)
    except LakeError as error:
        log.warning("commit.unreadable", process_id=str(process_id), error=str(error))
        return False


async def _finish_now(db: Database, lake: CommitReader, process_id: UUID, settings: ControlSettings) -> None:
    try:
        await finish_pending(db, lake, process_id, settings=settings)
    except LakeError as error:
        log.warning("end.postponed", process_id=str(process_id), error=str(error))


async def _note_after_the_end(conn: AsyncConnection, process_id: UUID, found: FoundCommit) -> None:
    """Tell people that the outcome that was announced is not what the lake holds; nothing else can be done."""
    row = await lock(conn, process_id)
    if row is None or row["state"] == State.SUCCEEDED:
        return
    log.critical("commit.after_the_end", process_id=str(process_id), state=row["state"], path=found.artifact.path)
    told = {"commit_digest": found.artifact.commit_digest, "token": found.commit.provenance.token}
    await _note_once(conn, row, "commit_after_end", told)


async def _note_corrupt(db: Database, row: RowMapping, error: str) -> None:
    async with db.transaction() as conn:
        await _note_once(conn, row, "commit_corrupt", {"error": error})


async def _note_once(conn: AsyncConnection, row: RowMapping, kind: str, detail: Mapping[str, Any]) -> None:
    noted = select(process_events.c.id).where(process_events.c.process_id == row["id"], process_events.c.kind == kind)
    if (await conn.execute(noted.limit(1))).first() is None:
        await note(conn, row, kind=kind, actor="commit", detail=detail)
