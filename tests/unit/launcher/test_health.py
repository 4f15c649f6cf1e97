"""What Dagster is told of a run's health: silence is no sign of death."""

import pytest
from dagster._core.launcher import WorkerStatus
from kubernetes.client import ApiException, V1JobStatus

from tests.unit.launcher.bench import World


def test_a_silent_api_server_is_no_sign_of_death(world: World) -> None:
    run = world.job()
    world.cluster.is_silent = True
    health = world.launcher.check_run_worker_health(run)
    assert health.status is WorkerStatus.RUNNING
    assert "nothing is concluded" in (health.msg or "")


def test_a_job_that_is_gone_has_failed(world: World) -> None:
    assert world.launcher.check_run_worker_health(world.run()).status is WorkerStatus.FAILED


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (V1JobStatus(active=1), WorkerStatus.RUNNING),
        (V1JobStatus(failed=1), WorkerStatus.FAILED),
        (V1JobStatus(succeeded=1), WorkerStatus.FAILED),  # the run has not said that it is over
        (ApiException(status=404), WorkerStatus.RUNNING),  # gone since it was asked for: the next look will tell
        (ApiException(status=403), WorkerStatus.RUNNING),
    ],
)
def test_a_run_is_as_well_as_its_job(world: World, status: V1JobStatus | Exception, health: WorkerStatus) -> None:
    world.api.status = status
    assert world.launcher.check_run_worker_health(world.job()).status is health
