"""The release's life: what runs survives an upgrade, and an uninstall leaves what the documents name and no more."""

import json
import re

import pytest

from contracts.states import State
from tests.e2e.k8s.deployment import NAMESPACE, PACE, RELEASE, ClusterWorld, install
from tests.e2e.k8s.helm import CommandError, run
from tests.test_architecture import ROOT

pytestmark = pytest.mark.k8s

MISSING_IMAGE = "localhost/no-such-image:1"  # which an action of this deployment names
SERVERS = ("api", "worker", "code", "daemon", "webserver")


def test_the_doctor_finds_all_well_from_inside_but_the_image_that_nobody_has(mill: ClusterWorld) -> None:
    with pytest.raises(CommandError) as found:
        run("helm", "test", RELEASE, "--namespace", NAMESPACE, "--timeout", "300s")
    assert re.findall(r"Phase: +(\w+)", str(found.value)) == ["Succeeded", "Succeeded", "Failed"], found.value
    log = mill.kubectl("logs", f"{RELEASE}-doctor-cluster")
    mill.kubectl("delete", "pod", f"{RELEASE}-doctor-cluster")  # which stays for its log
    failures = dict(re.findall(r"^fail  (\S+) +(\S+): ", log, re.MULTILINE))
    assert failures == dict.fromkeys(("images.pullable", "images.versions", "images.jars"), MISSING_IMAGE), log


def test_processes_that_run_during_an_upgrade_are_not_lost(mill: ClusterWorld) -> None:
    before = {pod["metadata"]["name"] for pod in mill.pods(f"app.kubernetes.io/instance={RELEASE}")}
    targets = [mill.land_numbers() for _ in range(2)]
    profiles = ("medium", "elastic")  # the latter begins with one executor, and asks for another as it has work for two
    process_ids = [
        mill.submit(target, "slow_squares", params=PACE, resource_profile=profile)
        for target, profile in zip(targets, profiles, strict=True)
    ]
    mill.executors_at_work(mill.run_of(process_ids[0]))
    stamps = [part for name in SERVERS for part in ("--set", f"{name}.podAnnotations.upgraded=yes")]
    install(mill.stack, *stamps)
    for process_id, target in zip(process_ids, targets, strict=True):
        process = mill.finish(process_id, seconds=240)
        assert process["state"] == State.SUCCEEDED, process
        assert process["metrics"]["resources"]["executors"] == 2
        mill.assert_one_outcome(process_id, target)
    for server in SERVERS:
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={server}"
        assert not {pod["metadata"]["name"] for pod in mill.pods(selector)} & before, server


def test_an_uninstall_leaves_what_the_documents_name(mill: ClusterWorld) -> None:
    kinds = run("kubectl", "api-resources", "--namespaced", "--verbs=list", "-o", "name").stdout.split()
    mill.kubectl("delete", "jobs", "-l", "dagster/run-id", "--wait")  # which the documents name
    run("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "100s")
    mill.wait_for_no_pods(f"app.kubernetes.io/instance={RELEASE}", 60)
    found = json.loads(mill.kubectl("get", ",".join(kinds), "-o", "json"))["items"]
    left = {f"{each['kind']}/{each['metadata']['name']}" for each in found if each["kind"] not in {"Event"}}
    # Every namespace has these of its own.
    left -= {"ServiceAccount/default", "ConfigMap/kube-root-ca.crt"}
    section = (ROOT / "docs" / "deploying.md").read_text().partition("## Uninstalling")[2].partition("\n## ")[0]
    assert left <= set(re.findall(r"`(\w+/[\w.-]+)`", section)), left
