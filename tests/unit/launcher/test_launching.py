"""A launch becomes a Job, or the requester hears why not before Dagster goes on."""

import json
from uuid import uuid4

import pytest
from kubernetes.client import ApiException
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from contracts.intake import LAUNCH_TAG
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from contracts.reports import Event
from orchestration.k8s import CONFIG_TAG, run_tags
from orchestration.launcher import ForeignImageError
from resources.cluster.port import ClusterUnavailableError, Pod
from tests.unit.launcher.bench import REFUSED, SILENT, AwayControlPlane, World, name_of


def test_a_launch_becomes_a_job_and_nothing_is_reported(world: World) -> None:
    run = world.run()
    world.launch(run)
    (job,) = world.api.created
    assert job.metadata.name == f"dagster-run-{run.run_id}"
    assert world.control_plane.reports == []
    (container,) = job.spec.template.spec.containers
    named = {each.name: each.value for each in container.env}
    assert "LAKEMILL_RUN_PROFILE" not in named  # none of the deployment's


def test_the_pod_learns_its_profile_when_it_is_one_of_the_deployments(world: World) -> None:
    world.launcher.profiles = [Profile()]
    run = world.run()
    world.launch(run)
    (container,) = world.api.created[0].spec.template.spec.containers
    named = {each.name: each.value for each in container.env}
    assert Profile.model_validate_json(named["LAKEMILL_RUN_PROFILE"]) == Profile()


def test_why_a_launched_pod_waits_is_told_without_ending_the_attempt(world: World) -> None:
    run = world.run()
    world.launch(run)
    world.cluster.start(name_of(run), Pod("p", "Pending", "i", unschedulable="1 Insufficient memory"))
    world.launcher.starting.look()
    reports = world.control_plane.reports
    assert [report.event for report in reports] == [Event.WAITING] * 2
    assert {report.process_id for report in reports} == {member.process_id for member in world.members}
    assert all(report.reason and report.reason.code is ReasonCode.POD_PENDING for report in reports)


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


def test_a_run_gets_no_image_that_the_deployment_does_not_name(world: World) -> None:
    world.launcher.images = {"registry/geo:1"}
    for image in ("registry/compute:9", "registry/geo:1"):
        world.launch(world.run({LAUNCH_TAG: str(uuid4()), **run_tags(Profile(), image)}))
    assert len(world.api.created) == 2
    run = world.run({LAUNCH_TAG: str(uuid4()), **run_tags(Profile(), "elsewhere/shell:1")})
    with pytest.raises(ForeignImageError, match="elsewhere/shell:1"):
        world.launch(run)
    assert len(world.api.created) == 2
    assert world.told(run)[0] is ReasonCode.POD_REFUSED


def test_nobody_is_told_of_an_operators_run(world: World) -> None:
    world.api.error = REFUSED
    with pytest.raises(Exception, match="Kubernetes"):
        world.launch(world.run({}))
    assert world.control_plane.reports == []


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
