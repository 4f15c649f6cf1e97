"""What runs is taken away: executors, run pods, the API server. The process still ends once, with one snapshot."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest

from cli.client import ApiUnreachableError
from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.states import State
from tests.e2e.k8s.deployment import NAMESPACE, PACE, POLL_SECONDS, RELEASE, SQUARES, ClusterWorld
from tests.e2e.world import wait_for

pytestmark = pytest.mark.k8s

OUTAGE_SECONDS = 90
TAINT = "lakemill.test/gone"
"""The deployment's servers tolerate it, its runs do not: to them the node is lost."""


@pytest.fixture(scope="module")
def interrupted(mill: ClusterWorld) -> dict[str, tuple[Coordinate, dict[str, Any]]]:
    """Four processes whose first run pod went: what was done to the pod → its target and how the process ended.

    One of them has executors at work; the others compute in the run pod, because four times three Sparks start slowly.
    """
    targets = {how: mill.land_numbers() for how in ("terminated", "deleted", "evicted", "out of time")}
    alone = {"params": {"milliseconds": 2000}, "resource_profile": "small"}
    process_ids = {how: mill.submit(targets[how], "slow_squares", **alone) for how in targets if how != "deleted"}
    process_ids["deleted"] = mill.submit(targets["deleted"], "slow_squares", params=PACE)
    run_ids = {how: mill.run_of(process_id) for how, process_id in process_ids.items()}
    _terminate(mill, run_ids["terminated"])
    _evict(mill, mill.driver_of(run_ids["evicted"]))
    _time_out(mill, mill.driver_of(run_ids["out of time"]))
    mill.executors_at_work(run_ids["deleted"])  # last: until they are, the others could end by themselves
    _delete(mill, mill.driver_of(run_ids["deleted"]))
    return {how: (targets[how], mill.finish(process_id, seconds=300)) for how, process_id in process_ids.items()}


def _terminate(mill: ClusterWorld, run_id: str) -> None:
    """End a run as an operator does in Dagster's pages."""
    address = mill.kubectl("get", "service", f"{RELEASE}-webserver", "-o", "jsonpath={.spec.clusterIP}")
    query = "mutation End($run_id: String!) { terminateRun(runId: $run_id) { __typename } }"
    body = {"query": query, "variables": {"run_id": run_id}}
    answer = httpx.post(f"http://{address}:3000/graphql", json=body, timeout=30).json()
    assert answer["data"]["terminateRun"]["__typename"] == "TerminateRunSuccess", answer


def _delete(mill: ClusterWorld, pod: str) -> None:
    mill.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def _evict(mill: ClusterWorld, pod: str) -> None:
    place = {"name": pod, "namespace": NAMESPACE}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": place}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    mill.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def _time_out(mill: ClusterWorld, pod: str) -> None:
    job = pod.rpartition("-")[0]
    mill.kubectl("patch", "job", job, "--patch", json.dumps({"spec": {"activeDeadlineSeconds": 1}}))


@contextmanager
def _tainted_node_of(mill: ClusterWorld, pod: str, effect: str) -> Iterator[None]:
    """While entered, the node that ``pod`` is on has the taint that runs do not tolerate."""
    node = mill.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
    mill.kubectl("taint", "node", node, f"{TAINT}:{effect}")
    try:
        yield
    finally:
        mill.kubectl("taint", "node", node, f"{TAINT}:{effect}-")


def test_executors_that_are_killed_or_sent_away_are_replaced_and_the_process_succeeds(mill: ClusterWorld) -> None:
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    killed, drained = mill.executors_at_work(mill.run_of(process_id))
    mill.kubectl("delete", "pod", killed, "--grace-period=0", "--force")
    mill.kubectl("delete", "pod", drained, "--wait=false")
    wait_for(
        "Spark hands over what the executor holds",
        lambda: "Decommission executor" in mill.log(drained),
        60,
        every=POLL_SECONDS,
    )
    process = mill.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == 1
    assert process["metrics"]["rows"] == 24
    assert process["metrics"]["resources"]["executors"] == 4
    mill.assert_one_outcome(process_id, target)
    assert mill.squares(target) == SQUARES


def test_an_executor_that_no_node_takes_goes_once_its_process_has_succeeded(mill: ClusterWorld) -> None:
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    run_id = mill.run_of(process_id)
    lost, kept = mill.executors_at_work(run_id)
    with _tainted_node_of(mill, kept, "NoSchedule"):
        mill.kubectl("delete", "pod", lost, "--grace-period=0", "--force")
        wait_for(
            "the executor in its place pends",
            lambda: any(name != lost and phase == "Pending" for name, phase in mill.executors(run_id).items()),
            60,
            every=POLL_SECONDS,
        )
        process = mill.finish(process_id)
        assert process["state"] == State.SUCCEEDED, process
        assert process["attempt"] == 1
        wait_for("its executors are gone", lambda: not mill.executors(run_id), 30, every=POLL_SECONDS)
        assert mill.driver_of(run_id)  # which owns them, and is kept: they did not go because it went
    mill.assert_one_outcome(process_id, target)
    assert mill.squares(target) == SQUARES


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("terminated", ReasonCode.RUN_DIED),
        ("deleted", ReasonCode.RUN_DIED),
        ("evicted", ReasonCode.POD_EVICTED),
        ("out of time", ReasonCode.RUN_TIMED_OUT),
    ],
)
def test_a_run_pod_that_goes_costs_an_attempt_and_leaves_one_commit(
    mill: ClusterWorld, interrupted: dict[str, tuple[Coordinate, dict[str, Any]]], how: str, code: ReasonCode
) -> None:
    target, process = interrupted[how]
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == 2
    assert mill.failed_codes(process["process_id"]) == [code]
    mill.assert_one_outcome(process["process_id"], target)
    assert mill.squares(target) == SQUARES
    commit = mill.commit(target)
    assert commit is not None
    assert commit.provenance.attempt == 2
    run_ids = [entry["detail"]["run_id"] for entry in process["timeline"] if entry["stage"] == "running"]
    mill.wait_until_run_is_gone(run_ids[0])


def test_a_run_whose_node_is_lost_says_so_and_is_tried_again(mill: ClusterWorld) -> None:
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", resource_profile="small")
    pod = mill.driver_of(mill.run_of(process_id))
    # As the cluster does it when a node does not answer: a taint, for which it deletes the node's pods.
    with _tainted_node_of(mill, pod, "NoExecute"):
        mill.kubectl("wait", "--for=delete", f"pod/{pod}", "--timeout=60s")
    process = mill.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    assert mill.failed_codes(process_id) == [ReasonCode.NODE_LOST]
    mill.assert_one_outcome(process_id, target)
    assert mill.squares(target) == SQUARES


def test_without_the_api_server_for_90_s_a_live_run_goes_on(mill: ClusterWorld) -> None:
    if not {"API_SERVER_STOP", "API_SERVER_START"} <= os.environ.keys():
        pytest.skip("API_SERVER_STOP and API_SERVER_START do not say how to stop the API server")
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params=PACE)
    mill.executors_at_work(mill.run_of(process_id))
    subprocess.run(["sh", "-c", os.environ["API_SERVER_STOP"]], check=True, timeout=60)
    try:
        back_at = time.monotonic() + OUTAGE_SECONDS

        def is_over() -> bool:
            assert not _is_ready(), "the API server is not away"
            return time.monotonic() > back_at

        wait_for("the outage is over", is_over, OUTAGE_SECONDS + 30, every=5)
    finally:
        # It may give up waiting on a busy machine, and is asked again.
        wait_for("the API server is started", _is_started, 400, every=5)
    # Its scheduler and controllers come back later still, and the tests that follow need them.
    mill.kubectl("rollout", "restart", f"deployment/{RELEASE}-worker")
    mill.kubectl("rollout", "status", f"deployment/{RELEASE}-worker", "--timeout=170s")
    # Until the controllers have heard of the node again, which may be a while after they work, its pods count as
    # unready, and now and then no service leads anywhere.
    wait_for("the process is over", partial(_is_over, mill, process_id), 300, every=POLL_SECONDS)
    mill.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    mill.kubectl("wait", "--for=condition=Available", "deployment", "--all", "--timeout=60s")
    wait_for("the API is reached again", partial(_is_over, mill, process_id), 60, every=POLL_SECONDS)
    process = mill.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    assert process["attempt"] == 1
    assert mill.failed_codes(process_id) == []
    mill.assert_one_outcome(process_id, target)
    assert mill.squares(target) == SQUARES


def _is_started() -> bool:
    return subprocess.run(["sh", "-c", os.environ["API_SERVER_START"]], check=False, timeout=300).returncode == 0


def _is_ready() -> bool:
    asked = ["kubectl", "get", "--raw", "/readyz", "--request-timeout=2s"]
    return subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0


def _is_over(mill: ClusterWorld, process_id: str) -> bool:
    with suppress(ApiUnreachableError):
        return State(mill.client.process(process_id)["state"]).is_terminal
    return False
