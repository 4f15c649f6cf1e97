"""A run's executors as pods: what Spark is told of them, how long they are waited for, and why they do not come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from assets.errors import PodsFailedError
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from orchestration.early_spark import pod_executors
from orchestration.executors import PodExecutors
from resources.cluster.port import Pod
from resources.spark.storage import SparkUnavailableError
from tests.unit.executors_bench import OWN, PROFILE, SETTINGS, World


def test_spark_is_told_of_the_pod_that_it_runs_in() -> None:
    world = World()
    world.cluster.add(OWN)
    settings = world.executors.settings(PROFILE)
    assert settings["spark.kubernetes.driver.pod.name"] == OWN.name
    assert settings["spark.kubernetes.container.image"] == OWN.image
    assert settings["spark.executor.instances"] == "3"


@pytest.mark.parametrize("name", [None, "dagster-run-of-another-namespace"])
def test_what_is_no_pod_has_no_executors(name: str | None) -> None:
    world = World(settings=SETTINGS.model_copy(update={"pod_name": name}))
    world.cluster.add(OWN)
    with pytest.raises(SparkUnavailableError, match="LAKEMILL_POD_NAME"):
        world.executors.settings(PROFILE)


def test_a_silent_cluster_is_told_apart_from_a_pod_that_it_does_not_know() -> None:
    world = World()
    world.cluster.is_silent = True
    with pytest.raises(PodsFailedError) as failed:
        world.executors.settings(PROFILE)
    assert failed.value.reason.code is ReasonCode.CLUSTER_UNAVAILABLE


def test_the_work_begins_as_soon_as_all_have_come() -> None:
    world = World(5, 9, 20)
    world.wait()
    assert 20 <= world.now < 21


def test_the_work_begins_with_fewer_once_the_last_are_late() -> None:
    world = World(5)
    with capture_logs() as logs:
        world.wait()
    assert 60 <= world.now < 61
    assert [(entry["event"], entry["ready"], entry["wanted"]) for entry in logs] == [("executors.fewer", 1, 3)]


def test_where_executors_come_and_go_the_least_number_is_enough() -> None:
    world = World(5, 50)
    world.wait(Profile(executor_instances=3, min_executors=1))
    assert 5 <= world.now < 6


def test_pods_that_no_node_takes_are_told_with_the_schedulers_words() -> None:
    world = World()
    world.executor("exec-1", unschedulable="0/1 nodes are available: Insufficient memory")
    reason = world.reason()
    assert reason.code is ReasonCode.POD_PENDING
    assert "Insufficient memory" in reason.message


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    world = World()
    world.executor("exec-1")
    world.executor("exec-2", waiting="ImagePullBackOff")
    reason = world.reason()
    assert reason.code is ReasonCode.IMAGE_UNAVAILABLE
    assert "registry/compute:9" in reason.message


def test_running_pods_that_nobody_hears_of_are_a_matter_of_the_network() -> None:
    world = World()
    for name, age in (("exec-1", 40), ("exec-2", 50), ("exec-3", 5)):
        world.executor(name, phase="Running", running_since=datetime.now(UTC) - timedelta(seconds=age))
    reason = world.reason()
    assert reason.code is ReasonCode.SPARK_UNAVAILABLE
    assert "2 executor pods" in reason.message
    assert "7078" in reason.message
    assert "7079" in reason.message


def test_pods_that_have_only_just_started_are_not_blamed_on_the_network() -> None:
    world = World()
    world.executor("exec-1", phase="Running", running_since=datetime.now(UTC))
    assert world.reason().code is ReasonCode.POD_PENDING


def test_without_pods_the_api_server_is_asked_what_it_has_against_them() -> None:
    world = World()
    world.cluster.is_full = True
    world.cluster.add(OWN)
    reason = world.reason()
    assert reason.code is ReasonCode.QUOTA_EXCEEDED
    assert "limited: pods=0" in reason.message
    (tried,) = world.cluster.tried
    (container,) = tried["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": f"{4096 + 409}Mi"}
    assert container["image"] == OWN.image
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}  # the template's
    assert tried["spec"]["serviceAccountName"] == SETTINGS.executor_service_account


def test_what_nobody_explains_is_told_with_how_long_it_took() -> None:
    world = World()
    world.cluster.add(Pod("exec-of-another-run", "Running", "x"), spark_role="executor", spark_app_selector="spark-2")
    reason = world.reason()
    assert reason.code is ReasonCode.POD_PENDING
    assert "60 s" in reason.message
    assert "executor pod" in reason.message


def test_a_cluster_that_falls_silent_is_told_as_such() -> None:
    world = World()
    world.cluster.is_silent = True
    assert world.reason().code is ReasonCode.CLUSTER_UNAVAILABLE


def test_only_a_master_on_kubernetes_has_pods() -> None:
    assert pod_executors(SETTINGS.model_copy(update={"spark_master": "local[2]"})) is None
    make = pod_executors(SETTINGS)
    assert make is not None
    assert isinstance(make(), PodExecutors)


@pytest.mark.parametrize(
    ("disruption", "code"),
    [
        ("EvictionByEvictionAPI", ReasonCode.POD_EVICTED),
        ("PreemptionByScheduler", ReasonCode.POD_EVICTED),
        ("DeletionByTaintManager", ReasonCode.NODE_LOST),
    ],
)
def test_a_run_that_is_sent_away_knows_why(disruption: str, code: ReasonCode) -> None:
    world = World()
    world.cluster.add(Pod(OWN.name, "Running", OWN.image, disruption=disruption))
    reason = world.executors.interruption()
    assert reason is not None
    assert reason.code is code
    assert "run pod" in reason.message


def test_a_run_whose_time_is_over_knows_it() -> None:
    world = World()
    world.cluster.start("dagster-run-1", replace(OWN, job="dagster-run-1"))
    assert world.executors.interruption() is None
    world.cluster.give_up("dagster-run-1", "DeadlineExceeded")
    reason = world.executors.interruption()
    assert reason is not None
    assert reason.code is ReasonCode.RUN_TIMED_OUT


def test_a_run_that_somebody_deletes_knows_nothing() -> None:
    world = World()
    assert world.executors.interruption() is None
    world.cluster.add(OWN)
    assert world.executors.interruption() is None
    world.cluster.is_silent = True
    assert world.executors.interruption() is None
