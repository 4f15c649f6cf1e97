"""What a run needs is not there: image, memory, room in a quota. The process ends, and its reason says why in words."""

import json
from typing import Any

import pytest

from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.states import State
from tests.e2e.k8s.deployment import NAMESPACE, PACE, POLL_SECONDS, ClusterWorld
from tests.e2e.world import wait_for

pytestmark = pytest.mark.k8s

Ended = tuple[Coordinate, dict[str, Any]]
"""A process's target, and the process once it has ended."""


@pytest.fixture(scope="module")
def unfit(mill: ClusterWorld) -> dict[str, Ended]:
    """Three processes that fail each for its own reason; submitted at once, because most of their time is waiting."""
    submissions: dict[str, dict[str, Any]] = {
        "image": {"action": "elsewhere"},
        "driver": {"action": "memory_hog", "params": {"where": "driver", "megabytes": 1700}},
        # One executor that dies four times is more than Spark itself would bear without our settings.
        "executors": {
            "action": "memory_hog",
            "params": {"where": "executor", "megabytes": 6000},
            "resource_profile": "lone",
        },
    }
    targets = {name: mill.land_numbers("elsewhere" if name == "image" else "eaten") for name in submissions}
    process_ids = {name: mill.submit(targets[name], **fields) for name, fields in submissions.items()}
    # The task of the executors is tried four times, each time by a new one, and all that twice.
    return {name: (targets[name], mill.finish(process_id, seconds=480)) for name, process_id in process_ids.items()}


@pytest.fixture(scope="module")
def crowded(mill: ClusterWorld) -> dict[str, Ended]:
    """Two processes in a namespace that becomes too small: one loses its executors there, one comes too late."""
    targets = {"at work": mill.land_numbers(), "late": mill.land_numbers()}
    process_ids = {"at work": mill.submit(targets["at work"], "slow_squares", params=PACE)}
    executors = mill.executors_at_work(mill.run_of(process_ids["at work"]))
    with mill.quota("1Gi"):  # less than any pod of theirs, and less than there is
        mill.kubectl("delete", "pod", *executors, "--grace-period=0", "--force")
        process_ids["late"] = mill.submit(targets["late"], "slow_squares")
        return {name: (targets[name], mill.finish(process_id, seconds=240)) for name, process_id in process_ids.items()}


def test_an_image_that_does_not_exist_is_the_reason(mill: ClusterWorld, unfit: dict[str, Ended]) -> None:
    _, process = unfit["image"]
    assert process["state"] == State.FAILED
    assert process["reason"]["code"] == ReasonCode.IMAGE_UNAVAILABLE
    assert "localhost/no-such-image:1" in process["reason"]["message"]
    mill.wait_for_no_pods("dagster/job=elsewhere", 60)
    assert json.loads(mill.kubectl("get", "jobs", "-l", "dagster/job=elsewhere", "-o", "json"))["items"] == []


def test_a_run_that_is_killed_for_its_memory_is_tried_with_more(mill: ClusterWorld, unfit: dict[str, Ended]) -> None:
    target, process = unfit["driver"]
    assert mill.failed_codes(process["process_id"]) == [ReasonCode.OUT_OF_MEMORY]
    assert process["state"] == State.SUCCEEDED, process
    assert process["profile"]["granted"]["driver_memory"] == "2g"
    assert "ran out of memory" in process["profile"]["reason"]
    mill.assert_one_outcome(process["process_id"], target)


def test_executors_that_run_out_of_memory_are_the_reason(mill: ClusterWorld, unfit: dict[str, Ended]) -> None:
    target, process = unfit["executors"]
    assert process["state"] == State.FAILED
    failures = mill.failures(process["process_id"])
    assert [reason["code"] for reason in failures] == [ReasonCode.OUT_OF_MEMORY] * 2, failures
    assert process["profile"]["granted"]["executor_memory"] == "2g"
    assert mill.commit(target) is None
    assert NAMESPACE not in process["reason"]["message"]


def test_a_run_pod_that_no_node_takes_says_so_and_can_be_cancelled(mill: ClusterWorld) -> None:
    process_id = mill.submit(mill.land_numbers(), "slow_squares", resource_profile={"driver_memory": "900g"})

    def blocked() -> dict[str, Any] | None:
        told: dict[str, Any] | None = mill.client.process(process_id)["blocked_by"]
        return told if told and told["code"] == ReasonCode.POD_PENDING else None

    told = wait_for("the process says that its pod is pending", blocked, 90, every=POLL_SECONDS)
    assert "Insufficient memory" in told["message"]
    run_id = mill.client.process(process_id)["run"]["run_id"]  # of a run that has not passed its gate
    mill.client.cancel(process_id)
    assert mill.finish(process_id)["state"] == State.CANCELLED
    mill.wait_until_run_is_gone(run_id)


@pytest.mark.parametrize(("name", "pods"), [("at work", ["executor pod", "run pod"]), ("late", ["run pod", "run pod"])])
def test_a_quota_that_is_too_small_is_the_reason(
    mill: ClusterWorld, crowded: dict[str, Ended], name: str, pods: list[str]
) -> None:
    target, process = crowded[name]
    assert process["state"] == State.FAILED
    failures = mill.failures(process["process_id"])
    assert [reason["code"] for reason in failures] == [ReasonCode.QUOTA_EXCEEDED] * 2
    for reason, pod in zip(failures, pods, strict=True):
        assert f"no room for the {pod}" in reason["message"]
        assert "exceeded quota: small" in reason["message"]
    assert process["reason"] == failures[-1]
    assert mill.commit(target) is None
    jobs = json.loads(mill.kubectl("get", "jobs", "-l", "dagster/job=slow_squares", "-o", "json"))["items"]
    assert [job["metadata"]["name"] for job in jobs if "conditions" not in job["status"]] == []  # would start one day
