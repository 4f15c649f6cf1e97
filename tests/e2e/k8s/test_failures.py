"""What goes wrong on a cluster, made to go wrong: the process still ends once, and its reason says why in words."""

import json
import os
import subprocess
import time

import pytest

from contracts.reasons import ReasonCode
from contracts.states import State
from tests.e2e.k8s.deployment import NAMESPACE, PACE, ClusterWorld
from tests.e2e.world import wait_for

pytestmark = pytest.mark.k8s

OUTAGE_SECONDS = 90


def attempts(mill: ClusterWorld, process_id: str) -> list[str]:
    """Return the reason codes of the attempts that failed."""
    timeline = mill.client.process(process_id)["timeline"]
    return [entry["detail"]["reason"]["code"] for entry in timeline if entry["stage"] == "attempt_failed"]


def quota(mill: ClusterWorld, extra_mb: int) -> None:
    """Leave the namespace room for ``extra_mb`` more of memory, and wait until that counts."""
    spec = {"hard": {"requests.memory": "64Gi"}}
    manifest = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": spec}
    mill.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def used() -> str | None:
        found = json.loads(mill.kubectl("get", "resourcequota", "small", "-o", "json"))
        value: str | None = found.get("status", {}).get("used", {}).get("requests.memory")
        return value

    in_use = int(wait_for("the quota is counted", used, 30).removesuffix("Mi"))
    spec["hard"]["requests.memory"] = f"{in_use + extra_mb}Mi"
    mill.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def test_executors_that_are_killed_or_sent_away_are_replaced_and_the_process_succeeds(mill: ClusterWorld) -> None:
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    killed, drained = mill.executors_at_work(mill.run_of(process_id))
    mill.kubectl("delete", "pod", killed, "--grace-period=0", "--force")
    mill.kubectl("delete", "pod", drained, "--wait=false")
    wait_for("Spark hands over what the executor holds", lambda: "Decommission executor" in mill.log(drained), 60)
    process = mill.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == 1
    assert process["metrics"]["rows"] == 24
    assert process["metrics"]["resources"]["executors"] == 4
    mill.assert_one_outcome(process_id, target)


def test_a_deleted_run_pod_costs_an_attempt_and_leaves_one_commit(mill: ClusterWorld) -> None:
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    run_id = mill.run_of(process_id)
    mill.executors_at_work(run_id)
    (driver,) = mill.pods(f"dagster/run-id={run_id}")
    mill.kubectl("delete", "pod", driver["metadata"]["name"], "--grace-period=0", "--force")
    process = mill.finish(process_id, seconds=240)
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == 2
    assert attempts(mill, process_id) == [ReasonCode.RUN_DIED]
    mill.assert_one_outcome(process_id, target)
    commit = mill.commit(target)
    assert commit is not None
    assert commit.provenance.attempt == 2
    mill.wait_for_no_pods(f"dagster/run-id={run_id}", 60)


def test_an_evicted_run_says_so_and_is_tried_again(mill: ClusterWorld) -> None:
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    run_id = mill.run_of(process_id)
    mill.executors_at_work(run_id)
    (driver,) = mill.pods(f"dagster/run-id={run_id}")
    place = {"name": driver["metadata"]["name"], "namespace": NAMESPACE}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": place}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{place['name']}/eviction"
    mill.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    process = mill.finish(process_id, seconds=240)
    assert process["state"] == State.SUCCEEDED, process
    assert attempts(mill, process_id) == [ReasonCode.POD_EVICTED]
    mill.assert_one_outcome(process_id, target)


def test_without_the_api_server_for_90_s_a_live_run_goes_on(mill: ClusterWorld) -> None:
    if not {"API_SERVER_STOP", "API_SERVER_START"} <= os.environ.keys():
        pytest.skip("API_SERVER_STOP and API_SERVER_START do not say how to stop the API server")
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    mill.executors_at_work(mill.run_of(process_id))
    subprocess.run(["sh", "-c", os.environ["API_SERVER_STOP"]], check=True, timeout=60)
    try:
        back_at = time.monotonic() + OUTAGE_SECONDS
        wait_for("the outage is over", lambda: time.monotonic() > back_at, OUTAGE_SECONDS + 5)
    finally:
        subprocess.run(["sh", "-c", os.environ["API_SERVER_START"]], check=True, timeout=180)
    process = mill.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == 1
    assert attempts(mill, process_id) == []
    mill.assert_one_outcome(process_id, target)


def test_a_quota_without_room_for_the_run_pod_is_the_reason(mill: ClusterWorld) -> None:
    quota(mill, extra_mb=500)
    try:
        process = mill.finish(mill.submit(mill.land_numbers(), "slow_squares"), seconds=240)
    finally:
        mill.kubectl("delete", "resourcequota", "small")
    assert process["state"] == State.FAILED
    assert process["reason"]["code"] == ReasonCode.QUOTA_EXCEEDED
    assert "run pod" in process["reason"]["message"]
    assert "exceeded quota: small" in process["reason"]["message"]
    mill.wait_for_no_pods("dagster/job=slow_squares", 60)
    jobs = json.loads(mill.kubectl("get", "jobs", "-l", "dagster/job=slow_squares", "-o", "json"))["items"]
    assert jobs == []


def test_a_quota_without_room_for_the_executors_is_the_reason(mill: ClusterWorld) -> None:
    quota(mill, extra_mb=2500)  # a run pod of 2,176 MiB fits, an executor of 1,408 MiB beside it does not
    try:
        process = mill.finish(mill.submit(mill.land_numbers(), "slow_squares"), seconds=240)
    finally:
        mill.kubectl("delete", "resourcequota", "small")
    assert process["state"] == State.FAILED
    assert process["reason"]["code"] == ReasonCode.QUOTA_EXCEEDED
    assert "executor pod" in process["reason"]["message"]


def test_an_image_that_does_not_exist_is_the_reason(mill: ClusterWorld) -> None:
    process = mill.finish(mill.submit(mill.land_numbers("elsewhere"), "elsewhere"), seconds=240)
    assert process["state"] == State.FAILED
    assert process["reason"]["code"] == ReasonCode.IMAGE_UNAVAILABLE
    assert "localhost/no-such-image:1" in process["reason"]["message"]
    mill.wait_for_no_pods("dagster/job=elsewhere", 60)


def test_a_run_that_is_killed_for_its_memory_is_tried_with_more(mill: ClusterWorld) -> None:
    target = mill.land_numbers("eaten")
    process_id = mill.submit(target, "memory_hog", params={"where": "driver", "megabytes": 1700})
    process = mill.finish(process_id, seconds=300)
    assert attempts(mill, process_id) == [ReasonCode.OUT_OF_MEMORY]
    assert process["state"] == State.SUCCEEDED, process
    assert process["profile"]["granted"]["driver_memory"] == "2g"
    assert "ran out of memory" in process["profile"]["reason"]
    mill.assert_one_outcome(process_id, target)


def test_executors_that_run_out_of_memory_are_the_reason(mill: ClusterWorld) -> None:
    target = mill.land_numbers("eaten")
    process_id = mill.submit(target, "memory_hog", params={"where": "executor", "megabytes": 6000})
    process = mill.finish(process_id, seconds=420)  # each task is tried four times, each time by new executors
    assert process["state"] == State.FAILED
    assert attempts(mill, process_id) == [ReasonCode.OUT_OF_MEMORY] * 2
    assert process["profile"]["granted"]["executor_memory"] == "2g"
    assert mill.commit(target) is None
    assert NAMESPACE not in process["reason"]["message"]
