"""How a process ends: the commit first, then the retry engine, and nothing final while a commit may still appear.

Two rules hold everything together. A commit in the lake decides, whatever was reported. And a non-success terminal
state is written only when no commit permit is live, what was sent in time must have arrived, and one more GET of the
commit, made after that moment, found nothing: from then on the store lets no presigned PUT of this process begin. What
no waiting can exclude (docs/decisions/0008-the-commit-and-its-permit.md) is told loudly when it happens.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.reasons import Reason, ReasonCode
from contracts.reports import COMMIT_DELIVERY_SECONDS
from contracts.states import ACTIVE, State
from contracts.storage import CorruptSnapshotError
from contracts.views import GrantedProfile
from control.profiles import after_out_of_memory
from control.snapshots import CommitReader, Published, coordinate_of, read_commit, record
from control.tables import process_events, processes
from control.transitions import lock, move, next_attempt, note
from resources.database import Database
from resources.lake import LakeError
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

BACKOFF_SECONDS = (5, 30, 180, 600)
"""After the first failed attempt, the second, …; the last one repeats."""
OUTAGE_BACKOFF_SECONDS = (60, 300, 600)
"""The same when the cluster could not be asked: its outage holds all processes up alike, and is waited out."""


async def settle_by_commit(db: Database, lake: CommitReader, process_id: UUID) -> bool:
    """End the process if its coordinate is committed; returns whether it stands at a terminal state now.

    Our own commit, of whichever attempt, makes it succeeded; anyone else's makes it failed, because that coordinate is
    taken for ever. A commit that cannot be read is logged and noted once, and settles nothing. A terminal state stays:
    our own commit that appeared after it is indexed, noted once, and logged as critical.
    Raises LakeError when the lake does not answer.
    """
    async with db.transaction() as conn:
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
        moved = await (_succeed if is_ours else _refuse)(conn, process_id, found)
        if is_ours and moved is None:
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
        if reason.is_retriable and attempt < settings.max_attempts:
            if reason.code is ReasonCode.OUT_OF_MEMORY:
                await _enlarge(conn, row)
            await next_attempt(conn, process_id, attempt, reason=reason, delay=backoff(attempt, reason), actor=actor)
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
) -> None:
    """End a process as failed, cancelled or expired whatever its attempt: at once if that is safe, else when it is.

    The first decision stays; a commit that appears before it takes effect wins. Never raises LakeError.
    """
    async with db.transaction() as conn:
        row = await _still_open(conn, process_id)
        if row is None:
            return
        await _decide(conn, row, state, reason, actor)
    await _finish_now(db, lake, process_id, settings)


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
            ending = row["ending"]
            columns = {"reason": ending["reason"]}
            detail = {"reason": ending["reason"]}
            await move(conn, process_id, State(ending["state"]), actor=ending["actor"], detail=detail, columns=columns)
    return True


def backoff(attempt: int, reason: Reason) -> timedelta:
    """Return how long after the failure of ``attempt`` (1, 2, …) the next one may be released."""
    steps = OUTAGE_BACKOFF_SECONDS if reason.code is ReasonCode.CLUSTER_UNAVAILABLE else BACKOFF_SECONDS
    return timedelta(seconds=steps[min(attempt, len(steps)) - 1])


async def _still_open(conn: AsyncConnection, process_id: UUID) -> RowMapping | None:
    row = await lock(conn, process_id)
    if row is None or State(row["state"]).is_terminal or row["ending"] is not None:
        return None
    return row


async def _enlarge(conn: AsyncConnection, row: RowMapping) -> None:
    profile = await after_out_of_memory(conn, GrantedProfile.model_validate(row["profile"]))
    change = update(processes).where(processes.c.id == row["id"])
    await conn.execute(change.values(profile=profile.model_dump(mode="json")))


async def _decide(conn: AsyncConnection, row: RowMapping, state: State, reason: Reason | None, actor: str) -> None:
    said = reason and reason.model_dump(mode="json")
    ending = {"state": state.value, "reason": said, "actor": actor}
    await conn.execute(update(processes).where(processes.c.id == row["id"]).values(ending=ending))
    await note(conn, row, kind="ending", actor=actor, detail={"state": state.value, "reason": said})


async def _due(conn: AsyncConnection, process_id: UUID, settings: ControlSettings) -> RowMapping | None:
    """Return the locked row of a process that is ending, whose last permit is dead and whose last PUT is delivered."""
    grace = timedelta(seconds=settings.clock_skew_seconds + COMMIT_DELIVERY_SECONDS)
    dead = or_(processes.c.permit_until.is_(None), processes.c.permit_until + grace < func.now())
    query = select(processes).where(
        processes.c.id == process_id,
        processes.c.state.in_([state.value for state in ACTIVE]),
        processes.c.ending.is_not(None),
        dead,
    )
    return (await conn.execute(query.with_for_update())).mappings().one_or_none()


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


async def _succeed(conn: AsyncConnection, process_id: UUID, found: Published) -> RowMapping | None:
    origin = found.commit.provenance
    told = origin.model_dump(mode="json", include={"token", "attempt", "run_id", "checks", "resources", "stages"})
    detail = {**told, "committed_at": found.artifact.committed_at.isoformat()}
    columns = {"artifact": found.artifact.model_dump(mode="json"), "reason": None}
    return await move(conn, process_id, State.SUCCEEDED, actor="commit", detail=detail, columns=columns)


async def _refuse(conn: AsyncConnection, process_id: UUID, found: Published) -> RowMapping | None:
    message = f"{found.artifact.path} was published at {found.artifact.committed_at.isoformat()} by somebody else"
    reason = Reason(code=ReasonCode.VERSION_ALREADY_PUBLISHED, message=message).model_dump(mode="json")
    detail = {"reason": reason, "commit_digest": found.artifact.commit_digest}
    return await move(conn, process_id, State.FAILED, actor="commit", detail=detail, columns={"reason": reason})


async def _note_after_the_end(conn: AsyncConnection, process_id: UUID, found: Published) -> None:
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
