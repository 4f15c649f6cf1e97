"""The checks of the compute image: what a pod of it prints against what this process is made of."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from assets import profiles
from cli.doctor import facts
from cli.doctor.check import Group, Status
from cli.doctor.images import spark_sums
from resources.cluster.review import PodEnd, ShortPod
from tests.doctor import ask, ask_group, proves
from tests.fake_cluster import FakeCluster, site

HERE = facts.facts("nowhere")
JAVA = str(HERE["java"]).partition(".")[0]
MINOR = str(HERE["python"]).rpartition(".")[0]


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    (tmp_path / "hadoop-aws-3.4.2.jar").write_bytes(b"jar")
    return tmp_path


def printed(**changes: Any) -> PodEnd:
    """Return what a pod of an image like this process prints, with ``changes``."""
    told = HERE | {"hadoop_aws": "3.4.2", "jars": spark_sums()} | changes
    return PodEnd(0, log=f"a warning of the image\n{json.dumps(told)}\n")


def test_an_image_like_this_process_passes(jars: Path) -> None:
    cluster = FakeCluster(end=printed())
    found = ask_group(site(cluster, jars), Group.IMAGES)
    assert {result.status for result in found.values()} == {Status.PASS}, found
    (pod,) = cluster.ran  # one pod for three checks
    assert (pod.image, pod.account) == ("lakemill-compute:1", "lakemill-executor")
    assert pod.spec == {"imagePullSecrets": [{"name": "registry"}]}


@proves("images.pullable", "images.versions", "images.jars")
def test_an_image_that_cannot_be_pulled_is_told_in_the_clusters_words(jars: Path) -> None:
    cluster = FakeCluster(end=PodEnd(None, problem="ImagePullBackOff: manifest unknown"))
    found = ask_group(site(cluster, jars, image="registry/gone:1"), Group.IMAGES)
    assert {result.status for result in found.values()} == {Status.FAIL}
    assert found["images.pullable"].detail == "registry/gone:1: ImagePullBackOff: manifest unknown"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"pyspark": "4.0.0"}, Status.FAIL, "pyspark 4.0.0 instead of"),
        ({"hadoop": "3.3.6"}, Status.FAIL, "hadoop 3.3.6 with hadoop-aws 3.4.2"),
        ({"hadoop_aws": None}, Status.FAIL, "hadoop_aws None"),
        ({"java": "21.0.1"}, Status.FAIL, "java 21.0.1"),
        ({"java": f"{JAVA}.0.99"}, Status.WARN, "here java"),
        ({"python": "3.9.1"}, Status.FAIL, "python 3.9.1 instead of"),
        ({"python": f"{MINOR}.99"}, Status.WARN, "here python"),
    ],
)
@proves("images.versions")
def test_another_version_is_found(jars: Path, changes: dict[str, Any], status: Status, words: str) -> None:
    found = ask(site(FakeCluster(end=printed(**changes)), jars), "images.versions")
    assert (found.status, words in found.detail) == (status, True), found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sums: sums | {"hadoop-aws-3.4.2.jar": "0" * 64}, "hadoop-aws-3.4.2.jar differs"),
        (lambda sums: sums | {"evil.jar": "0" * 64}, "evil.jar is not in SHA256SUMS"),
        (lambda sums: {name: sums[name] for name in sums if name != "sts-2.29.52.jar"}, "sts-2.29.52.jar is missing"),
        (lambda _: {}, "more"),
    ],
)
@proves("images.jars")
def test_another_jar_is_found(jars: Path, change: Callable[[dict[str, str]], dict[str, str]], words: str) -> None:
    found = ask(site(FakeCluster(end=printed(jars=change(spark_sums()))), jars), "images.jars")
    assert (found.status, words in found.detail) == (Status.FAIL, True), found


def test_a_pod_goes_where_executors_go(jars: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(json.dumps({"spec": {"nodeSelector": {"pool": "spark"}, "volumes": [{"name": "tmp"}]}}))
    cluster = FakeCluster(end=printed())
    ask(site(cluster, jars, template), "images.pullable")
    assert [pod.spec for pod in cluster.ran] == [{"nodeSelector": {"pool": "spark"}}]


@proves("images.pullable", "images.versions")
def test_the_images_that_actions_may_name_are_tried_too(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "load_images", lambda: {"geo": "geo:1", "same": "lakemill-compute:1", "old": "old:1"})
    cluster = FakeCluster(end=printed(), ends={"geo:1": PodEnd(None, problem="gone"), "old:1": printed(java="8.0")})
    found = ask_group(site(cluster, jars), Group.IMAGES)
    assert sorted(pod.image for pod in cluster.ran) == ["geo:1", "lakemill-compute:1", "old:1"]
    assert (found["images.pullable"].status, found["images.pullable"].detail) == (Status.FAIL, "geo:1: gone")
    assert "old:1: has java 8.0 instead" in found["images.versions"].detail


def test_no_image_waits_for_another(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "load_images", lambda: {"geo": "geo:1", "old": "old:1"})
    all_run = Barrier(3, timeout=10)

    class SlowCluster(FakeCluster):
        def run(self, pod: ShortPod) -> PodEnd:
            all_run.wait()
            return super().run(pod)

    found = ask(site(SlowCluster(end=printed()), jars), "images.pullable")
    assert found.status is Status.PASS, found


@pytest.mark.parametrize("end", [PodEnd(1, log="sh: python3: not found", problem="exit 1"), PodEnd(0, log="hello")])
@proves("images.versions")
def test_an_image_that_is_not_ours_is_found(jars: Path, end: PodEnd) -> None:
    cluster = FakeCluster(end=end)
    assert ask(site(cluster, jars), "images.pullable").status is Status.PASS
    assert ask(site(cluster, jars), "images.versions").status is Status.FAIL


def test_without_the_right_to_start_pods_nothing_is_started(jars: Path) -> None:
    cluster = FakeCluster(me="system:serviceaccount:mill:lakemill-run")
    found = ask(site(cluster, jars), "images.pullable")
    assert (found.status, "create jobs.batch" in found.detail, cluster.ran) == (Status.SKIP, True, [])


def test_without_a_release_the_image_must_be_named(jars: Path) -> None:
    cluster = FakeCluster(image=None)
    assert "--image" in ask(site(cluster, jars), "images.pullable").detail
    assert cluster.ran == []
    ask(site(cluster, jars, image="lakemill-compute:2"), "images.pullable")
    assert [(pod.image, pod.account) for pod in cluster.ran] == [("lakemill-compute:2", None)]
