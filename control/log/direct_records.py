"""Direct topics: what any producer writes there is a request of the topic's tenant, accepted like one over HTTP.

Partitions are judged side by side, the records of one in their order, each in transactions of its own. A refusal that
may pass by itself is no refusal: the record and what follows it in its partition are answered ``later``, and the sensor
shows them again (docs/decisions/0012-producers-on-kafka.md).

LakemillError
└── NotNowError           the record cannot be judged now; it must be shown again
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.exc import DataError

from contracts.intake import LogPosition, LogRecord, RecordAnswer, Verdict
from contracts.messages import MAX_BODY_BYTES, ProcessRequest
from contracts.problems import LakemillError, ProblemError
from contracts.reading import parse
from contracts.tenancy import Tenant
from control.accepting.accept import Answer, accept
from control.accepting.inputs import InputCheck
from control.accepting.submission import Submission
from control.actions import may_return
from control.log.dead_letters import buried, bury, unstorable, whole_value
from control.rules.dead import DeadRecordError
from control.tenancy.keys import UnknownTenantError
from control.tenancy.tenants import get as get_tenant
from control.tenancy.tenants import listing as list_tenants
from control.together import together
from resources.database import Database, DatabaseUnavailableError
from resources.settings import ControlSettings

log = structlog.get_logger(__name__)

KEY_HEADER = b"idempotency-key"
BUDGET_SECONDS = 5.0
"""Records that have not had their turn by then are answered ``later``: a tick waits for no more than this."""
AGAIN_SECONDS = 5.0
"""How long a partition is left alone whose next record must wait."""
_AT_ONCE = 8
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_PASSING = frozenset({429, 503})


class NotNowError(LakemillError):
    """The record cannot be judged now: too much of its tenant waits, or somebody does not answer."""

    retriable = True


@dataclass(frozen=True, slots=True)
class DirectRecords:
    """Judges the records of direct topics."""

    db: Database
    inputs: InputCheck
    settings: ControlSettings
    clock: Callable[[], float] = time.monotonic

    async def judge(self, records: Sequence[LogRecord]) -> dict[LogPosition, RecordAnswer]:
        """Return the verdict on each: accepted, duplicate, dead or later.

        Raises DatabaseUnavailableError; then some may have been accepted, and are duplicates when they are shown again.
        """
        if not records:
            return {}
        stop_at = self.clock() + BUDGET_SECONDS
        async with self.db.reading() as conn:
            known = await buried(conn, records)
        partitions: dict[tuple[str, int], list[LogRecord]] = {}
        for record in records:
            partitions.setdefault((record.position.topic_id, record.position.partition), []).append(record)
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(partition: list[LogRecord]) -> list[RecordAnswer]:
            async with places:
                return await self._judge_partition(partition, known, stop_at)

        judged = await together(one(partition) for partition in partitions.values())
        return {answer.position: answer for answers in judged for answer in answers}

    async def _judge_partition(
        self, records: Sequence[LogRecord], known: Mapping[LogPosition, RowMapping], stop_at: float
    ) -> list[RecordAnswer]:
        answers: list[RecordAnswer] = []
        try:
            tenant = await self.tenant_of(records[0].topic)
            for record in records:
                if self.clock() > stop_at:
                    return answers + _later(records[len(answers) :], "the tick is over", 0.0)
                row = known.get(record.position)
                answers.append(await self._answer(record, tenant) if row is None else _again(record, row))
        except NotNowError as error:
            log.warning("record.later", topic=records[0].topic, reason=str(error))
            return answers + _later(records[len(answers) :], str(error), AGAIN_SECONDS)
        return answers

    async def _answer(self, record: LogRecord, tenant: Tenant) -> RecordAnswer:
        try:
            answer = await self._accept(submission_of(record, tenant))
        except ProblemError as refusal:
            dead = as_dead(refusal)
        except DeadRecordError as error:
            dead = error
        except DataError as error:
            dead = unstorable(error)
        else:
            verdict = Verdict.DUPLICATE if answer.is_repeated else Verdict.ACCEPTED
            return RecordAnswer.of(record, verdict, answer.body["process_id"])
        async with self.db.transaction() as conn:
            await bury(conn, record, dead)
        return RecordAnswer.of(record, Verdict.DEAD, str(dead))

    async def _accept(self, submission: Submission) -> Answer:
        """Raises NotNowError for a refusal that may pass without anybody changing the request, ProblemError else."""
        try:
            return await accept(self.db, self.inputs, self.settings, submission)
        except ProblemError as refusal:
            if is_passing(refusal) or await self._may_return(refusal, submission.request.action):
                raise NotNowError(str(refusal)) from refusal
            raise

    async def _may_return(self, refusal: ProblemError, action: str) -> bool:
        if refusal.problem.code != "unknown_action":
            return False
        async with self.db.reading() as conn:
            return await may_return(conn, action)

    async def tenant_of(self, topic: str) -> Tenant:
        """Return who speaks on a direct topic. Raises NotNowError when there is no such tenant."""
        async with self.db.reading() as conn:
            try:
                return await get_tenant(conn, self.settings.direct_topics[topic])
            except UnknownTenantError as error:
                raise NotNowError(f"LAKEMILL_DIRECT_TOPICS gives {topic!r} to a tenant, but {error}") from error


async def tell_unknown_tenants(db: Database, settings: ControlSettings) -> None:
    """Log each direct topic whose tenant does not exist, for the start of the API: the topic's records wait."""
    if not settings.direct_topics:
        return
    try:
        async with db.reading() as conn:
            there = {tenant.id for tenant in await list_tenants(conn)}
    except DatabaseUnavailableError:
        log.warning("direct_topics.unchecked", reason="the database does not answer")
        return
    for topic, tenant in settings.direct_topics.items():
        if tenant not in there:
            log.error("direct_topic.unknown_tenant", topic=topic, tenant=tenant, remedy="lakemill tenants create")


def submission_of(record: LogRecord, tenant: Tenant) -> Submission:
    """Read a direct topic's record as a submit. Raises ProblemError, DeadRecordError."""
    value = whole_value(record)
    if len(value) > MAX_BODY_BYTES:
        raise ProblemError("payload_too_large", f"the value has {len(value)} bytes; {MAX_BODY_BYTES} are read")
    request = parse(ProcessRequest, value)
    actor, source = f"topic:{record.topic}", record.position.model_dump()
    return Submission(tenant, request, actor, key_of(record), source=source)


def key_of(record: LogRecord) -> str:
    """Return what makes a record that is shown twice one process: its header, else its place in the log.

    Raises ProblemError (invalid_idempotency_key).
    """
    found = [header.value or b"" for header in record.headers if header.name.lower() == KEY_HEADER]
    if not found:
        return f"kafka:{record.position}"
    if len(found) > 1 or not _KEY.fullmatch(found[0]):
        raise ProblemError(
            "invalid_idempotency_key", "the header must stand once, as 1 to 255 visible ASCII characters"
        )
    return found[0].decode("ascii")


def is_passing(refusal: ProblemError) -> bool:
    """Whether a refusal may pass without anybody changing the request: it says when to come again."""
    return refusal.problem.status in _PASSING


def as_dead(refusal: ProblemError) -> DeadRecordError:
    """Return the reason of a dead letter, in the refusal's code and words."""
    words = [refusal.detail, *(f"{error['field']}: {error['rule']}" for error in refusal.extra.get("errors", ()))]
    if "process_id" in refusal.extra:
        words.append(f"process {refusal.extra['process_id']}")
    return DeadRecordError(refusal.problem.code, "; ".join(words))


def _again(record: LogRecord, row: RowMapping) -> RecordAnswer:
    """Answer as before: what was judged once is judged anew by nobody but an administrator."""
    if row["redriven_at"] is not None:
        return RecordAnswer.of(record, Verdict.DUPLICATE, "its dead letter was redriven")
    return RecordAnswer.of(record, Verdict.DEAD, f"{row['code']}: {row['message']}")


def _later(records: Sequence[LogRecord], reason: str, again_in: float) -> list[RecordAnswer]:
    return [RecordAnswer.of(record, Verdict.LATER, reason, again_in=again_in) for record in records]
