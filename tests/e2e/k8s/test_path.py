"""One heavy process on a real cluster: a run pod, two executors, a snapshot, a callback; and who may do what there."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from contracts.states import State
from resources.lake.store import S3Lake
from tests.e2e.k8s.deployment import NAMESPACE, RELEASE, SQUARES, ClusterWorld
from tests.e2e.k8s.helm import CHART

pytestmark = pytest.mark.k8s


@pytest.fixture(scope="module")
def heavy(mill: ClusterWorld) -> dict[str, Any]:
    """A process that has succeeded; its pods were looked at while they worked."""
    target = mill.land_numbers()
    process_id = mill.submit(target, "slow_squares", params={"milliseconds": 1000})
    run_id = mill.run_of(process_id)
    executors = mill.executors_at_work(run_id)
    (driver,) = mill.pods(f"dagster/run-id={run_id}")
    for name in executors:
        shown = mill.kubectl("get", "pod", name, "-o", "json")
        (owner,) = json.loads(shown)["metadata"]["ownerReferences"]
        assert owner["uid"] == driver["metadata"]["uid"]
        assert json.loads(shown)["spec"]["terminationGracePeriodSeconds"] == 60  # to hand its shuffle files over
        assert "kube-api-access" not in shown  # no token of the cluster
        assert "secretKeyRef" not in shown  # and no key of the store
    process = mill.finish(process_id)
    assert process["state"] == State.SUCCEEDED, process
    mill.assert_one_outcome(process_id, target)
    assert mill.squares(target) == SQUARES
    return process


def test_a_heavy_process_becomes_pods_a_snapshot_and_a_callback(
    heavy: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    stages = [entry["stage"] for entry in heavy["timeline"]]
    wanted = ["accepted", "released", "queued", "run_started", "spark_ready", "executors_ready", "written", "committed"]
    assert [stage for stage in stages if stage in wanted] == wanted
    used = heavy["metrics"]["resources"]
    assert (used["executors"], used["executor_cores"]) == (2, 2)
    assert used["driver_peak_heap_bytes"] > 0
    assert used["executor_peak_heap_bytes"] > 0
    assert used["driver_pod_peak_bytes"] > used["driver_peak_heap_bytes"] / 2
    assert used["executor_task_seconds"] > 24
    assert heavy["profile"]["granted"]["executor_instances"] == 2
    for entry in heavy["timeline"]:
        record_property(entry["stage"], entry["seconds"])


def test_logs_outlive_the_pods(mill: ClusterWorld, heavy: dict[str, Any]) -> None:
    run_id = heavy["run"]["run_id"]
    mill.kubectl("delete", "job", f"dagster-run-{run_id}", "--ignore-not-found")
    mill.wait_for_no_pods(f"dagster/run-id={run_id}", 60)
    logs = S3Lake(mill.settings, "logs")
    files = [entry.key for entry in logs.list("dagster/") if run_id in entry.key]
    assert any(b"Setting default log level" in (logs.get(key) or b"") for key in files), files


@pytest.mark.parametrize("account", ["launcher", "webserver", "run", "executor", "code", "control"])
def test_an_account_may_do_what_the_documents_say_and_no_more(mill: ClusterWorld, account: str) -> None:
    whom = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-{account}"
    listed = mill.kubectl("auth", "can-i", "--list", f"--as={whom}", "--no-headers")
    found = {
        (line.split()[0], verb)
        for line in listed.splitlines()
        if not line.startswith(" ")
        for verb in line[line.rindex("[") + 1 : line.rindex("]")].split()
    }
    everybody = {(f"selfsubject{kind}.{group}", "create") for kind, group in _REVIEWS}
    rules = yaml.safe_load((CHART / "rbac.yaml").read_text()).get(account, [])
    documented = {
        (_listed(resource, group), verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert found - everybody == documented


def _listed(resource: str, group: str) -> str:
    """Return a resource as kubectl lists it: the group stands before the part (jobs.batch/status)."""
    whole, slash, part = resource.partition("/")
    return f"{whole}.{group}{slash}{part}" if group else resource


_REVIEWS = (
    ("accessreviews", "authorization.k8s.io"),
    ("rulesreviews", "authorization.k8s.io"),
    ("reviews", "authentication.k8s.io"),
)
