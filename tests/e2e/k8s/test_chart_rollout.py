"""The order of the hooks of an upgrade, and whose pods are rolled."""

import pytest

from tests.e2e.k8s.helm import COMPONENT, FULL, Manifest, Objects, containers, named, render

pytestmark = pytest.mark.k8s


def test_the_first_hook_needs_nothing_of_the_release(full: Objects) -> None:
    job = named(full, "Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "default"
    assert not [volume for volume in spec["volumes"] if "configMap" in volume]
    assert [container["args"] for container in [*spec["initContainers"], *spec["containers"]]] == [
        ["python", "-m", "control.migrate"],
        ["lakemill", "topics", "ensure", "--partitions=12", "--replication-factor=2"],
    ]


def test_the_last_hooks_migrate_dagster_then_publish_and_publish_again_after_a_rollback(full: Objects) -> None:
    tables, publish = (named(full, "Job", name) for name in ("dagster-tables", "publish"))
    when, order = (
        [job["metadata"]["annotations"][f"helm.sh/hook{key}"] for job in (tables, publish)] for key in ("", "-weight")
    )
    assert when == ["post-install,post-upgrade", "post-install,post-upgrade,post-rollback"]
    assert int(order[0]) < int(order[1])
    assert [containers(job["spec"]["template"])[0]["args"] for job in (tables, publish)] == [
        ["dagster", "instance", "migrate"],
        ["lakemill", "actions", "publish"],
    ]


@pytest.mark.parametrize(
    ("setting", "rolled"),
    [
        ("profiles=[x]", {"code", "daemon"}),
        ("actionImages=[images]", {"code", "daemon"}),
        ("schedules=[nightly]", {"code"}),
        ("launching.maxConcurrentRuns=7", {"code", "daemon", "webserver", "webserver-read-only"}),
        ("launching.jobTtlSeconds=46", {"code", "daemon", "webserver"}),
        ("executor.podLabels.a=b", set()),  # a run reads it when it starts
    ],
)
def test_pods_are_rolled_when_what_they_read_changes(setting: str, rolled: set[str], full: Objects) -> None:
    def templates(objects: Objects) -> dict[str, Manifest]:
        return {
            found["metadata"]["labels"][COMPONENT]: found["spec"]["template"]
            for found in objects
            if found["kind"] == "Deployment"
        }

    before, after = templates(full), templates(render(*FULL, "--set", setting))
    assert {name for name in before if before[name] != after[name]} == rolled
