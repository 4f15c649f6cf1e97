"""What runs report, and what they are told: the start gate, the commit permit, the outcome.

Every event may come twice, late, or from an attempt that nobody waits for any more. The two gates (started, committing)
answer 409 then; the two outcomes are always taken in and only count for what they can prove.
"""

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.reasons import Reason
from contracts.reports import Event, LaunchMembers, Member, Report, ReportAnswer
from contracts.states import State
from contracts.storage import CorruptSnapshotError
from contracts.views import GrantedProfile
from control.outcomes import end_attempt, settle_by_commit
from control.rules.gates import counts, must_start, permit, wanted
from control.schema import Row
from control.snapshots import CommitReader, coordinate_of, known, read_commit, record, refuse_retired
from control.tables import launches, processes
from control.transitions import lock, move, note
from resources.database import Database
from resources.lake.store import LakeError
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

_LAUNCHED = (State.QUEUED.value, State.RUNNING.value)


async def launch_members(db: Database, launch_id: UUID) -> LaunchMembers:
    """Return the attempts of a launch that are still wanted; raises ProblemError (not_found) for an unknown launch."""
    is_current = and_(launches.c.process_id == processes.c.id, launches.c.attempt == processes.c.attempt)
    query = select(processes).join(launches, is_current).where(launches.c.launch_id == launch_id)
    members = query.where(processes.c.state.in_(_LAUNCHED), processes.c.ending.is_(None)).order_by(processes.c.id)
    async with db.reading() as conn:
        rows = (await conn.execute(members)).mappings().all()
        if not rows and not await conn.scalar(select(func.count()).where(launches.c.launch_id == launch_id)):
            raise ProblemError("not_found", f"there is no launch {launch_id}")
    return LaunchMembers(launch_id=launch_id, members=[member_of(row) for row in rows])


async def receive(db: Database, lake: CommitReader, report: Report, settings: ControlSettings) -> ReportAnswer:
    """Take in one report.

    Raises ProblemError: attempt_superseded, permit_held, commit_outlives_permit, version_retired, not_found,
    validation_failed.
    """
    if report.event is Event.PUBLISHED:
        await _published(db, lake, report)
        return ReportAnswer()
    process_id: UUID = _required(report, "process_id")
    attempt: int = _required(report, "attempt")
    match report.event:
        case Event.STARTED:
            async with db.transaction() as conn:
                await _started(conn, process_id, attempt, report)
        case Event.WAITING:
            async with db.transaction() as conn:
                await _waiting(conn, process_id, attempt, report)
        case Event.COMMITTING:
            async with db.transaction() as conn:
                return await _committing(conn, process_id, attempt, report, settings)
        case Event.SUCCEEDED:
            await _succeeded(db, lake, process_id)
        case Event.FAILED:
            await _failed(db, lake, process_id, attempt, report, settings)
    return ReportAnswer()


async def _started(conn: AsyncConnection, process_id: UUID, attempt: int, report: Report) -> None:
    row = wanted(await lock(conn, process_id), process_id, attempt)
    if not must_start(row, report):
        return
    columns = {"run_id": report.run_id}
    detail = {"run_id": report.run_id, "reported_at": report.at.isoformat()}
    actor = f"run:{report.run_id}"
    await move(conn, process_id, State.RUNNING, actor=actor, attempt=attempt, detail=detail, columns=columns)


async def _waiting(conn: AsyncConnection, process_id: UUID, attempt: int, report: Report) -> None:
    """Note why the attempt's run has not started, unless it has."""
    reason: Reason = _required(report, "reason")
    row = wanted(await lock(conn, process_id), process_id, attempt)
    if row["state"] == State.QUEUED:
        detail = {"run_id": report.run_id, "reason": reason.model_dump(mode="json")}
        await note(conn, row, kind=Event.WAITING, actor=f"run:{report.run_id}", detail=detail)


async def _committing(
    conn: AsyncConnection, process_id: UUID, attempt: int, report: Report, settings: ControlSettings
) -> ReportAnswer:
    token = _required(report, "token")
    row = wanted(await lock(conn, process_id), process_id, attempt)
    now = (await conn.execute(select(func.now()))).scalar_one()
    given = permit(row, report, now, settings)
    for place, snapshot in (await known(conn, [coordinate_of(row)])).items():
        refuse_retired(place, snapshot["retired_at"])
    if given.is_new:
        grant = update(processes).where(processes.c.id == process_id)
        await conn.execute(grant.values(permit_token=token, permit_until=given.until))
        detail = {"token": token, "permit_until": given.until.isoformat(), "stages": _stages(report)}
        await note(conn, row, kind="committing", actor=f"run:{report.run_id}", detail=detail)
    return ReportAnswer(permit_until=given.until)


async def _succeeded(db: Database, lake: CommitReader, process_id: UUID) -> None:
    """The word of a run proves nothing: read the commit. What cannot be read now the reconciler reads later."""
    async with db.reading() as conn:
        await _existing(conn, process_id)
    try:
        if not await settle_by_commit(db, lake, process_id):
            log.warning("report.unproven", process_id=str(process_id))
    except LakeError as error:
        log.warning("report.unchecked", process_id=str(process_id), error=str(error))


async def _failed(
    db: Database, lake: CommitReader, process_id: UUID, attempt: int, report: Report, settings: ControlSettings
) -> None:
    reason: Reason = _required(report, "reason")
    async with db.reading() as conn:
        row = await _existing(conn, process_id)
    if not counts(row, report):
        log.info("report.outdated", process_id=str(process_id), attempt=attempt, run_id=report.run_id)
        return
    detail = {"run_id": report.run_id, "stages": _stages(report), "resources": report.resources}
    actor = f"run:{report.run_id}"
    await end_attempt(db, lake, process_id, attempt, reason, actor, settings=settings, detail=detail)


async def _published(db: Database, lake: CommitReader, report: Report) -> None:
    place = Coordinate(*(_required(report, field) for field in ("entity_id", "data_version", "dataset")))
    try:
        found = await read_commit(lake, place)
    except LakeError as error:
        raise ProblemError("lake_unavailable", "the commit cannot be read now") from error
    except CorruptSnapshotError as error:
        raise ProblemError("validation_failed", str(error)) from error
    if found is None:
        raise ProblemError("validation_failed", f"nothing is committed at {place}")
    async with db.transaction() as conn:
        await record(conn, found)


async def _existing(conn: AsyncConnection, process_id: UUID) -> RowMapping:
    query = select(processes.c.attempt, processes.c.run_id).where(processes.c.id == process_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", f"there is no process {process_id}")
    return row


def _required(report: Report, field: str) -> Any:
    value = getattr(report, field)
    if value is None:
        errors = [{"field": field, "rule": f"is required for {report.event.value!r}"}]
        raise ProblemError("validation_failed", f"{field} is missing", errors=errors)
    return value


def _stages(report: Report) -> dict[str, str]:
    return {stage: at.isoformat() for stage, at in report.stages.items()}


def member_of(row: Row) -> Member:
    """Return what a run is told of the process ``row``, whose current attempt it computes."""
    request = ProcessRequest.model_validate(row["request"])
    return Member(
        process_id=row["id"],
        attempt=row["attempt"],
        tenant=row["tenant_id"],
        action=row["action"],
        entity_id=row["entity_id"],
        data_version=row["data_version"],
        dataset=row["dataset"],
        params=request.params,
        inputs=request.inputs,
        profile=GrantedProfile.model_validate(row["profile"]).granted,
    )
