"""Redrive: an administrator lets a dead letter's record be judged again, and what comes of it is noted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping, func, update
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.intake import LogPosition, LogRecord
from contracts.problems import LakemillError, ProblemError
from contracts.states import State
from control.accepting.accept import Answer, planned, store
from control.accepting.inputs import InputCheck
from control.log.dead_letters import get, is_at, kept_record, read_record, unstorable
from control.log.direct_records import DirectRecords, NotNowError, as_dead, submission_of
from control.log.tables import dead_letters
from control.rules.dead import DeadCode, DeadRecordError
from control.rules.launching import known, why_not_wanted
from control.tenancy.admin_log import note_admin
from control.transitions import lock, send_again
from resources.database import Database
from resources.settings import ControlSettings


class _RefusedError(LakemillError):
    """The record stays a dead letter, for the reason that this says."""


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of one dead letter."""

    place: LogPosition
    is_done: bool
    """Whether it is a dead letter no longer."""
    told: str
    """The process that it became or belongs to, or why it stays what it is."""


@dataclass(frozen=True, slots=True)
class Redriver:
    """Redrives in the name of ``actor``."""

    db: Database
    inputs: InputCheck
    settings: ControlSettings
    actor: str

    async def redrive(self, place: LogPosition) -> Redriven:
        """Judge one record again; what succeeds is marked in the same transaction.

        Raises UnknownLetterError, DatabaseUnavailableError.
        """
        async with self.db.reading() as conn:
            row = await get(conn, place)
        try:
            return Redriven(place, True, await self._again(row, kept_record(row)))
        except ProblemError as refusal:
            return Redriven(place, False, str(as_dead(refusal)))
        except DataError as error:
            return Redriven(place, False, str(unstorable(error)))
        except (_RefusedError, DeadRecordError, NotNowError) as refusal:
            return Redriven(place, False, str(refusal))

    async def _again(self, row: RowMapping, record: LogRecord) -> str:
        if row["redriven_at"] is not None:
            raise _RefusedError(f"it was redriven at {row['redriven_at'].isoformat(timespec='seconds')}")
        if row["code"] == DeadCode.OVERSIZED:
            raise _RefusedError("what is kept of it is not all of it")
        if record.topic == self.settings.kafka_topic:
            return await self._release(record)
        if record.topic in self.settings.direct_topics:
            return await self._accept(record)
        raise DeadRecordError(DeadCode.UNEXPECTED_TOPIC, f"{record.topic!r} is not in LAKEMILL_DIRECT_TOPICS")

    async def _release(self, record: LogRecord) -> str:
        """Let the worker send the attempt of a relay's record again, if the process still waits for it."""
        released = read_record(record)
        async with self.db.transaction() as conn:
            process = known(await lock(conn, released.process_id), released)
            if not_wanted := why_not_wanted(process, released, {State.ACCEPTED}):
                raise _RefusedError(not_wanted)
            await send_again(conn, process, delay=timedelta(0), actor=self.actor)
            await self._mark(conn, record, process["tenant_id"], {"process_id": str(process["id"])})
        return f"process {process['id']} is released again"

    async def _accept(self, record: LogRecord) -> str:
        """Accept a direct topic's record as if it came now, under the same idempotency key."""
        direct = DirectRecords(self.db, self.inputs, self.settings)
        submission = submission_of(record, await direct.tenant_of(record.topic))
        submission = replace(submission, source={**submission.source, "redriven_by": self.actor})
        plan = await planned(self.db, self.inputs, self.settings, submission)
        async with self.db.transaction() as conn:
            answer = plan if isinstance(plan, Answer) else await store(conn, plan, submission)
            detail = {"process_id": answer.body["process_id"]}
            await self._mark(conn, record, submission.tenant.id, detail)
        was = " already" if answer.is_repeated else ""
        return f"process {answer.body['process_id']} is accepted{was}"

    async def _mark(self, conn: AsyncConnection, record: LogRecord, tenant_id: str, detail: Mapping[str, Any]) -> None:
        change = update(dead_letters).where(is_at(record.position), dead_letters.c.redriven_at.is_(None))
        if not (await conn.execute(change.values(redriven_at=func.now()))).rowcount:
            raise _RefusedError("somebody else has redriven it just now")
        place = {"place": str(record.position), "topic": record.topic}
        await note_admin(conn, self.actor, "dead_letter_redriven", tenant_id, {**place, **detail})
