"""What a test does with the nightly schedule: let a time's tick come, come twice, or be tried."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import DagsterInstance
from dagster._core.remote_representation.external import RemoteSchedule
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster_graphql.test.utils import execute_dagster_graphql

from tests.integration.schedule_location import round_at, schedule_state, ticks, workspace

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
FIRST = datetime(2026, 11, 21, 1, 30, tzinfo=UTC)  # half past two in Berlin
DRY_RUN = """
mutation Test($selector: ScheduleSelector!, $at: Float) {
  scheduleDryRun(selectorData: $selector, timestamp: $at) {
    ... on DryRunInstigationTick { evaluationResult { skipReason error { message } } }
  }
}
"""


def tick_at(instance: DagsterInstance, now: datetime) -> InstigatorTick:
    round_at(instance, now + MINUTE)
    return ticks(instance)[0]


def tick_twice(instance: DagsterInstance) -> tuple[InstigatorTick, InstigatorTick]:
    """Let the daemon do a tick, forget that it did as one that dies right after the evaluation, and do it again."""
    before = schedule_state(instance)
    tick = tick_at(instance, FIRST)
    unfinished = tick.tick_data._replace(status=TickStatus.STARTED, skip_reason=None)
    instance.update_tick(InstigatorTick(tick.tick_id, unfinished))
    instance.update_instigator_state(before)
    return tick, tick_at(instance, FIRST + MINUTE)


def remote_schedule(instance: DagsterInstance) -> RemoteSchedule:
    with workspace(instance) as context:
        (location,) = context.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        (found,) = repository.get_schedules()
        return found


def dry_run(instance: DagsterInstance, at: datetime) -> dict[str, Any]:
    schedule = remote_schedule(instance)
    handle = schedule.handle.repository_handle
    selector = {
        "repositoryLocationName": handle.location_name,
        "repositoryName": handle.repository_name,
        "scheduleName": schedule.name,
    }
    with workspace(instance) as context:
        variables = {"selector": selector, "at": at.timestamp()}
        answer = execute_dagster_graphql(context.create_request_context(), DRY_RUN, variables=variables)
    found: dict[str, Any] = answer.data["scheduleDryRun"]["evaluationResult"]
    assert found["error"] is None
    return found
