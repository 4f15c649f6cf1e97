"""What a run needs is not there: image, memory, room in a quota. The process ends, and its reason says why in words."""

import json
from functools import partial
from typing import Any

import pytest

from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.states import State
from tests.e2e.k8s.deployment import NAMESPACE, PACE, ClusterWorld
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
        "executors": {"action": "memory_hog", "params": {"where": "executor", "megabytes": 6000}},
    }
    targets = {name: mill.land_numbers("elsewhere" if name == "image" else "eaten") for name in submissions}
    process_ids = {name: mill.submit(targets[name], **fields) for name, fields in submissions.items()}
    # Each task of the executors is tried four times, each time by new executors, and all that twice.
    return {name: (targets[name], mill.finish(process_id, seconds=480)) for name, process_id in process_ids.items()}


@pytest.fixture(scope="module")
def crowded(mill: ClusterWorld) -> dict[str, Ended]:
    """Two processes in a namespace that is too small for a time: one loses its executors there, one comes too late."""
    mill.wait_for_no_pods("spark-role=executor", 90)  # of other tests: they would make room as they go
    targets = {"at work": mill.land_numbers(), "late": mill.land_numbers()}
    process_ids = {"at work": mill.submit(targets["at work"], "slow_squares", params=PACE)}
    executors = mill.executors_at_work(mill.run_of(process_ids["at work"]))
    # Both executors gone, there are 1,000 MiB left: too few for one of 1,408 MiB, and for a run pod of 2,176 MiB.
    with mill.quota(extra_mb=1000 - 2 * 1408):
        mill.kubectl("delete", "pod", *executors, "--grace-period=0", "--force")
        process_ids["late"] = mill.submit(targets["late"], "slow_squares")
        for process_id in process_ids.values():
            wait_for(f"{process_id} fails", partial(mill.failures, process_id), 120)
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
    assert mill.failed_codes(process["process_id"]) == [ReasonCode.OUT_OF_MEMORY] * 2
    assert process["profile"]["granted"]["executor_memory"] == "2g"
    assert mill.commit(target) is None
    assert NAMESPACE not in process["reason"]["message"]


@pytest.mark.parametrize(("name", "pod"), [("at work", "executor pod"), ("late", "run pod")])
def test_a_quota_that_became_too_small_costs_an_attempt(
    mill: ClusterWorld, crowded: dict[str, Ended], name: str, pod: str
) -> None:
    target, process = crowded[name]
    (reason,) = mill.failures(process["process_id"])
    assert reason["code"] == ReasonCode.QUOTA_EXCEEDED
    assert pod in reason["message"]
    assert "exceeded quota: small" in reason["message"]
    assert process["state"] == State.SUCCEEDED, process
    mill.assert_one_outcome(process["process_id"], target)


def test_a_quota_without_room_for_the_executors_is_the_reason(mill: ClusterWorld) -> None:
    mill.wait_for_no_pods("spark-role=executor", 90)
    with mill.quota(extra_mb=2500):  # a run pod of 2,176 MiB fits, an executor of 1,408 MiB beside it does not
        process = mill.finish(mill.submit(mill.land_numbers(), "slow_squares"), seconds=240)
    assert process["state"] == State.FAILED
    assert process["reason"]["code"] == ReasonCode.QUOTA_EXCEEDED
    assert "executor pod" in process["reason"]["message"]
