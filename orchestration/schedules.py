"""Dagster schedules that ask the API for backfills; they yield no runs.

A repeated tick is harmless: the idempotency key is made of the schedule's name and the scheduled time. Of several
missed times Dagster evaluates only the newest, so a tick also makes the backfills of those before it
(docs/decisions/0013-schedules-catch-up.md).
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from dagster import (
    DagsterInstance,
    DefaultScheduleStatus,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, ScheduleInstigatorData, TickStatus
from dagster._utils.schedules import reverse_cron_string_iterator

from contracts.problems import LakemillError
from orchestration.schedule_file import Schedule

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from resources.backfills import Backfills

MOST_AT_ONCE = 10
"""Scheduled times whose backfills one tick makes: its own, and the newest of those that were missed before it."""
_OPEN = (TickStatus.STARTED, TickStatus.FAILURE)
_DONE = [TickStatus.SKIPPED, TickStatus.SUCCESS]

log = structlog.get_logger(__name__)


class TickFailedError(LakemillError):
    """A schedule could not make each of its backfills. Dagster tries the tick again a minute later."""


def schedule_of(entry: Schedule, job: "UnresolvedAssetJobDefinition") -> ScheduleDefinition:
    """Return the Dagster schedule of one table of the file; ``job`` is its action's, where the UI shows it."""

    @schedule(
        name=entry.name,
        job=job,
        cron_schedule=entry.cron,
        execution_timezone=entry.timezone,
        required_resource_keys={"backfills"},
        default_status=DefaultScheduleStatus.RUNNING if entry.running else DefaultScheduleStatus.STOPPED,
        description=f"Asks for a backfill of {entry.action} at {entry.data_version}, for the tenant {entry.tenant}.",
    )
    def ask_for_backfills(context: ScheduleEvaluationContext) -> SkipReason:
        backfills: Backfills = context.resources.backfills
        at = context.scheduled_execution_time
        times = due(context.instance, entry, at)
        return SkipReason(make(backfills, entry, times) if times else preview(backfills, entry, at))

    return ask_for_backfills


def make(backfills: "Backfills", entry: Schedule, times: list[datetime]) -> str:
    """Make the backfills of these scheduled times, each once whatever happens; return what became of them.

    Raises BackfillsUnavailableError at once, and TickFailedError when the API refuses some of them.
    """
    from resources.backfills import BackfillRefusedError  # noqa: PLC0415 - the code location loads without httpx

    told, refused = [], []
    for moment in times:
        try:
            told.append(_make_one(backfills, entry, moment))
        except BackfillRefusedError as error:
            if error.code == "idempotency_key_reused":
                # The file has changed since this very time got its backfill.
                told.append(f"a backfill of another request was made before for {_text(moment)}")
            else:
                refused.append(f"{_text(moment)}: {error}")
    if refused:
        raise TickFailedError(f"schedule {entry.name}: {'; '.join(refused)}")
    return "; ".join(told)


def _make_one(backfills: "Backfills", entry: Schedule, moment: datetime) -> str:
    made, is_new = backfills.create(entry.tenant, entry.request_at(moment))
    log.info("schedule.backfill", schedule=entry.name, backfill_id=str(made.backfill_id), is_new=is_new)
    told = f"backfill {made.backfill_id} of {made.entities} entities at {made.data_version}"
    return told if is_new else f"{told}, made before"


def preview(backfills: "Backfills", entry: Schedule, moment: datetime) -> str:
    """Return what the schedule would make at ``moment``. Raises BackfillsError."""
    request = entry.request_at(moment)
    found = backfills.preview(entry.tenant, request)
    return f"only a test: would be of {found.entities} entities at {request.data_version}, {found.published} published"


def due(instance: DagsterInstance, entry: Schedule, at: datetime) -> list[datetime]:
    """Return the scheduled times up to ``at`` that have no backfill yet, oldest first.

    Nothing when Dagster has no tick under way for ``at``: then somebody tests the schedule in the UI.
    """
    states = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    for state in (found for found in states if found.instigator_name == entry.name):
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if ticks and ticks[0].status in _OPEN and ticks[0].timestamp == at.timestamp():
            return _since(entry, _handled_until(instance, state), at)
    return []


def _handled_until(instance: DagsterInstance, state: InstigatorState) -> float:
    """Return the time up to which everything is done, or was not wanted, in seconds since the epoch."""
    data = state.instigator_data
    done = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=_DONE)
    known = [tick.timestamp for tick in done]
    if isinstance(data, ScheduleInstigatorData):
        # When it was switched on, and up to when the daemon has seen that nothing was due.
        known += [moment for moment in (data.start_timestamp, data.last_iteration_timestamp) if moment is not None]
    return max(known, default=0.0)


def _since(entry: Schedule, handled_until: float, at: datetime) -> list[datetime]:
    times = [at]
    for moment in reverse_cron_string_iterator(at.timestamp(), entry.cron, entry.timezone):
        if moment.timestamp() <= handled_until:
            break
        if len(times) == MOST_AT_ONCE:
            log.error("schedule.missed", schedule=entry.name, last=_text(moment), remedy="ask for them by hand")
            break
        if moment < at:
            times.append(moment)
    return times[::-1]


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
