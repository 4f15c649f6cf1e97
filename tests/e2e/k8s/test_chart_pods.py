"""What every pod of the chart is held to: restriction, resources, files, probes; and the pods of its own test."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from cli.doctor.check import Group
from resources.cluster.review import ShortPod
from tests.e2e.k8s.helm import HELM_TESTS, RELEASE, CommandError, Objects, containers, file_of, pods, render, run
from tests.e2e.k8s.rules import violations

pytestmark = pytest.mark.k8s
SERVING = {"api", "worker", "code", "webserver", "webserver-read-only"}


def test_every_pod_is_restricted_and_asks_for_resources(variant: Objects) -> None:
    for component, pod in pods(variant).items():
        assert list(violations(pod)) == [], component
        assert pod["spec"].get("enableServiceLinks") is False, component
        for container in containers(pod):
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, component
            assert re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"]), component
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}, component
            assert "tmp" in mounts


def test_every_config_map_that_a_pod_mounts_is_made(variant: Objects) -> None:
    made = {found["metadata"]["name"]: found["data"] for found in variant if found["kind"] == "ConfigMap"}
    for component, pod in pods(variant).items():
        sources = {
            volume["name"]: volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume
        }
        assert set(sources.values()) <= made.keys(), component
        for mount in (mount for container in containers(pod) for mount in container["volumeMounts"]):
            if "subPath" in mount:
                assert mount["subPath"] in made[sources[mount["name"]]], component


def test_what_serves_is_probed(variant: Objects) -> None:
    found = {component: pod["spec"]["containers"][0] for component, pod in pods(variant).items()}
    serving = SERVING & found.keys()
    assert serving >= SERVING - {"webserver-read-only"}
    for component in serving:
        assert found[component].keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}, component
    assert [name for name, container in found.items() if container.get("ports") and name not in SERVING] == []
    # By name: a pod of the Helm test, which a Service selects too, has none of that name.
    services = [service["spec"] for service in variant if service["kind"] == "Service"]
    targets = [port["targetPort"] for spec in services if "selector" in spec for port in spec["ports"]]
    assert {type(target) for target in targets} == {str}


def test_the_daemon_s_probe_looks_at_heartbeats_and_needs_no_cluster(tmp_path: Path) -> None:
    objects = render()
    storage = {"sqlite": {"base_dir": str(tmp_path)}}
    instance = file_of(objects, "instance", "dagster.yaml") | {"storage": storage}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance))
    probe = pods(objects)["daemon"]["spec"]["containers"][0]["livenessProbe"]["exec"]["command"]
    with pytest.raises(CommandError, match=re.escape("Daemon(s) not running")):  # for nobody has had a heartbeat
        run("env", f"DAGSTER_HOME={tmp_path}", str(Path(sys.executable).parent / probe[0]), *probe[1:])


def test_the_helm_test_asks_every_group_but_callbacks_which_need_a_receiver(variant: Objects) -> None:
    tests = [found for found in variant if found["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    tests.sort(key=lambda found: int(found["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert [found["metadata"]["name"].removeprefix(f"{RELEASE}-") for found in tests] == list(HELM_TESTS)
    asked = {found["spec"]["serviceAccountName"]: found["spec"]["containers"][0]["args"] for found in tests}
    groups = {name: {word for word in args if word.startswith("--only=")} for name, args in asked.items()}
    storage = {f"--only={Group.STORAGE}"}  # by each plane with its own key
    as_launcher = {f"--only={group}" for group in (Group.CLUSTER, Group.IMAGES)}
    others = {f"--only={group}" for group in set(Group) - {Group.CALLBACKS}} - as_launcher
    assert groups == {
        f"{RELEASE}-launcher": as_launcher | storage,
        f"{RELEASE}-control": others | storage,
        f"{RELEASE}-code": {f"--only={Group.KAFKA}"},  # the sensor, as the compute plane's own user
    }


def test_the_helm_test_can_tell_that_an_image_does_not_come(variant: Objects) -> None:
    cluster = next(found for found in variant if found["metadata"]["name"] == f"{RELEASE}-doctor-cluster")
    patience = ShortPod("image", ("true",)).seconds  # for all images, which are tried together
    assert cluster["spec"]["activeDeadlineSeconds"] >= patience + 60  # for what else this pod asks
