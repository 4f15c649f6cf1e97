"""Why a run went away reaches the requester, and its Job goes."""

import dagster as dg
import pytest
from structlog.testing import capture_logs

from contracts.reasons import ReasonCode
from contracts.reports import Event
from resources.cluster.port import Pod
from resources.control_plane import AttemptSupersededError, ControlPlaneUnavailableError
from tests.unit.launcher.bench import World, name_of


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


@pytest.mark.parametrize(
    ("status", "words"),
    [(dg.DagsterRunStatus.STARTED, "is gone"), (dg.DagsterRunStatus.STARTING, "was never made")],
)
def test_a_run_without_job_and_pod_has_died(world: World, status: dg.DagsterRunStatus, words: str) -> None:
    run = world.run(status=status)
    world.launcher.get_run_worker_debug_info(run)
    code, message = world.told(run)
    assert (code, words in message) == (ReasonCode.RUN_DIED, True), message


@pytest.mark.parametrize(("has_started", "words"), [(True, "is gone"), (False, "was never made")])
def test_a_run_that_is_being_cancelled_is_told_by_whether_it_had_started(
    world: World, has_started: bool, words: str
) -> None:
    run = world.run(status=dg.DagsterRunStatus.STARTING)
    if has_started:
        world.instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id
        )
    world.instance.report_run_canceling(run)
    cancelled = world.instance.get_run_by_id(run.run_id)
    assert cancelled is not None
    assert cancelled.status is dg.DagsterRunStatus.CANCELING
    world.launcher.get_run_worker_debug_info(cancelled)
    code, message = world.told(run)
    assert (code, words in message) == (ReasonCode.RUN_DIED, True), message


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
