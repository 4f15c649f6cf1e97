"""The run launcher: why a run pod could not be made or went away reaches the requester before Dagster goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from kubernetes.client import ApiException, V1JobStatus
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from assets.partitions import LAUNCH_TAG
from contracts.reasons import ReasonCode
from contracts.reports import Event
from orchestration.k8s import CONFIG_TAG
from resources.cluster import ClusterUnavailableError, Pod
from resources.control_plane import AttemptSupersededError, ControlPlaneUnavailableError
from tests.unit.launcher_bench import REFUSED, SILENT, AwayControlPlane, World, name_of


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = str(tmp_path_factory.mktemp("dagster"))
    # One database for all runs: to make one for each would take longer than the tests.
    where = {"module": "dagster._core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage"}
    with dg.DagsterInstance.local_temp(
        folder, {"event_log_storage": {**where, "config": {"base_dir": folder}}}
    ) as instance:
        yield instance


@pytest.fixture
def world(instance: dg.DagsterInstance, tmp_path: Path) -> World:
    return World(instance, tmp_path)


def test_a_launch_becomes_a_job_and_nothing_is_reported(world: World) -> None:
    run = world.run()
    world.launch(run)
    (job,) = world.api.created
    assert job.metadata.name == f"dagster-run-{run.run_id}"
    assert world.control_plane.reports == []


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (REFUSED, ReasonCode.QUOTA_EXCEEDED, "limited: pods=0"),
        (ApiException(status=422, reason="Invalid"), ReasonCode.POD_REFUSED, "422"),
        (ApiException(status=503, reason="Busy"), ReasonCode.CLUSTER_UNAVAILABLE, "503"),
        (SILENT, ReasonCode.CLUSTER_UNAVAILABLE, "connection refused"),
    ],
)
def test_why_no_job_could_be_made_is_told_before_dagster_hears_of_it(
    world: World, error: Exception, code: ReasonCode, words: str
) -> None:
    world.api.error, run = error, world.run()
    with pytest.raises(Exception, match="Kubernetes"):
        world.launch(run)
    assert world.told(run)[0] is code
    assert words in world.told(run)[1]


def test_a_job_that_may_have_been_made_is_not_left(world: World) -> None:
    world.api.error, run = SILENT, world.run()
    with pytest.raises(Exception, match="Kubernetes"):
        world.launch(run)
    assert world.cluster.deleted == [name_of(run)]


def test_a_job_that_a_dying_daemon_had_made_is_enough(world: World) -> None:
    run = world.job()
    world.launch(run)
    assert world.api.created == []
    assert world.control_plane.reports == []


def test_a_mute_api_server_is_met_before_dagster_waits_for_it(world: World) -> None:
    run = world.run()
    world.cluster.is_silent = True
    with capture_logs(), pytest.raises(ClusterUnavailableError):
        world.launch(run)
    assert world.api.created == []
    assert world.told(run)[0] is ReasonCode.CLUSTER_UNAVAILABLE


def test_a_run_that_asks_for_more_than_is_allowed_makes_no_job_and_says_so(world: World) -> None:
    beyond = {"pod_spec_config": {"host_network": True}}
    run = world.run({LAUNCH_TAG: str(uuid4()), CONFIG_TAG: json.dumps(beyond)})
    with pytest.raises(Exception, match=r"pod_spec_config\.host_network"):
        world.launch(run)
    code, message = world.told(run)
    assert code is ReasonCode.POD_REFUSED
    assert "host_network" in message
    assert world.api.created == []


def test_nobody_is_told_of_an_operators_run(world: World) -> None:
    world.api.error = REFUSED
    with pytest.raises(Exception, match="Kubernetes"):
        world.launch(world.run({}))
    assert world.control_plane.reports == []


def test_the_reason_of_a_failed_pod_is_told_while_its_job_is_still_there(world: World) -> None:
    run = world.job(Pod("p", "Failed", "i", terminated="OOMKilled", exit_code=137))
    jobs_then: list[bool] = []
    world.control_plane.on_report = lambda: jobs_then.append(world.cluster.job(name_of(run)) is not None)
    info = world.launcher.get_run_worker_debug_info(run, include_container_logs=False)
    assert world.told(run)[0] is ReasonCode.OUT_OF_MEMORY
    assert jobs_then == [True, True]
    assert world.cluster.deleted == [name_of(run)]
    assert world.cluster.pods("") == []
    assert name_of(run) in (info or "")  # what Dagster shows is Dagster's


def test_a_job_that_outlived_its_deadline_is_told_as_such(world: World) -> None:
    run = world.job()
    world.cluster.give_up(name_of(run), "DeadlineExceeded")
    world.launcher.get_run_worker_debug_info(run)
    assert world.told(run)[0] is ReasonCode.RUN_TIMED_OUT


def test_a_job_without_a_pod_is_told_with_the_newest_complaint(world: World) -> None:
    run = world.run()
    world.cluster.is_full = True
    world.cluster.warn("Job", name_of(run), "FailedCreate: pods is forbidden: some older thing")
    world.cluster.start(name_of(run))
    world.launcher.get_run_worker_debug_info(run)
    code, message = world.told(run)
    assert code is ReasonCode.QUOTA_EXCEEDED
    assert "limited: pods=0" in message


@pytest.mark.parametrize("complaints", [(), ('FailedMount: secret "postgresql-ca" not found',)])
def test_a_pod_that_starts_too_late_is_told_with_the_limit_and_what_the_cluster_says(
    world: World, complaints: tuple[str, ...]
) -> None:
    run = world.job(Pod("p", "Pending", "i", waiting="ContainerCreating"))
    for said in complaints:
        world.cluster.warn("Pod", "p", said)
    world.launcher.get_run_worker_debug_info(run)
    code, message = world.told(run)
    assert code is ReasonCode.POD_PENDING
    assert all(words in message for words in ("180 s", *complaints))


def test_a_run_without_job_and_pod_has_died(world: World) -> None:
    run = world.run()
    world.launcher.get_run_worker_debug_info(run)
    assert world.told(run)[0] is ReasonCode.RUN_DIED


def test_why_the_cluster_took_a_pod_away_is_known_when_the_pod_is_gone(world: World) -> None:
    lost = Pod("run-1", "Running", "compute:9", node="n-7", disruption="DeletionByTaintManager")
    run = world.job(lost)
    world.launcher.check_run_worker_health(run)
    world.cluster.delete_job(name_of(run))
    world.launcher.get_run_worker_debug_info(run)
    assert world.told(run)[0] is ReasonCode.NODE_LOST


def test_a_silent_cluster_is_told_too_and_its_job_left(world: World) -> None:
    run = world.job()
    world.cluster.is_silent = True
    assert world.launcher.get_run_worker_debug_info(run) is None
    assert world.told(run)[0] is ReasonCode.CLUSTER_UNAVAILABLE
    assert world.cluster.deleted == []


def test_a_job_that_a_silent_cluster_kept_is_deleted_once_it_answers_again(world: World) -> None:
    run, other = world.job(), world.job()
    world.control_plane.on_report = lambda: setattr(world.cluster, "is_silent", True)
    with capture_logs() as logs:
        assert world.launcher.get_run_worker_debug_info(run)
    assert [entry["event"] for entry in logs] == ["launcher.job_left"]
    assert world.told(run)[0] is ReasonCode.RUN_DIED
    world.cluster.is_silent = False
    world.launcher.check_run_worker_health(other)
    assert world.cluster.deleted == [name_of(run)]
    world.launcher.check_run_worker_health(other)
    assert world.cluster.deleted == [name_of(run)]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (dg.DagsterRunStatus.STARTED, ReasonCode.RUN_DIED),  # somebody deleted it
        (dg.DagsterRunStatus.STARTING, ReasonCode.POD_PENDING),
    ],
)
def test_a_job_without_a_pod_means_something_else_once_the_run_has_started(
    world: World, status: dg.DagsterRunStatus, code: ReasonCode
) -> None:
    run = world.run(status=status)
    world.cluster.start(name_of(run))
    world.launcher.get_run_worker_debug_info(run)
    assert world.told(run)[0] is code


def test_a_launch_that_dagsters_database_breaks_is_not_blamed_on_the_cluster(world: World) -> None:
    run = world.run()
    world.api.error = OperationalError("INSERT", {}, Exception("connection refused"))
    with pytest.raises(Exception, match="connection refused"):
        world.launch(run)
    code, message = world.told(run)
    assert code is ReasonCode.RUN_DIED
    assert "connection refused" in message


def test_a_silent_control_plane_does_not_stop_a_launch_from_failing_as_it_did(world: World) -> None:
    world.launcher.control_plane = AwayControlPlane()
    world.api.error = REFUSED
    with capture_logs() as logs, pytest.raises(Exception, match="Kubernetes"):
        world.launch(world.run())
    assert [entry["event"] for entry in logs] == ["launcher.unheard"]


def test_a_control_plane_that_takes_no_report_does_not_keep_the_job(world: World) -> None:
    world.control_plane.refuse(Event.FAILED, ControlPlaneUnavailableError("away"))
    run = world.job()
    with capture_logs() as logs:
        assert world.launcher.get_run_worker_debug_info(run)
    assert [entry["event"] for entry in logs] == ["launcher.unheard"]
    assert world.cluster.deleted == [name_of(run)]


def test_a_member_whose_attempt_is_over_does_not_keep_the_others_from_hearing(world: World) -> None:
    world.control_plane.refuse(Event.FAILED, AttemptSupersededError("another attempt took its place"))
    run = world.job()
    assert world.launcher.get_run_worker_debug_info(run)
    assert world.told(run)[0] is ReasonCode.RUN_DIED


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
