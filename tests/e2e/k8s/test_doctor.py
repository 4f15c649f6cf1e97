"""The doctor against a real cluster: the chart's accounts, one of them with a token, and pods that start or do not."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml
from kubernetes import client, config
from pydantic import SecretStr

from cli.doctor.check import Group, Status
from cli.doctor.site import Options, Site
from resources.cluster.api import BoundedApiClient
from resources.cluster.kubernetes_review import KubernetesReview
from resources.cluster.review import ShortPod
from resources.settings import ComputeSettings
from tests.doctor import ask, ask_group, proves
from tests.e2e.k8s.helm import RELEASE, render
from tests.kafka_server import JARS

pytestmark = pytest.mark.k8s
KINDS = {"ServiceAccount", "Role", "RoleBinding"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A restricted namespace with the chart's accounts."""
    name = f"doctor-{uuid4().hex[:8]}"
    accounts = [found for found in render(namespace=name) if found["kind"] in KINDS]
    config.load_kube_config()
    client.CoreV1Api().create_namespace({"metadata": {"name": name, "labels": RESTRICTED}})
    try:
        kubectl("apply", "-n", name, "-f", "-", stdin=yaml.safe_dump_all(accounts))
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def image(tested_image: str) -> str:
    """A compute image that the node has."""
    return tested_image


def site(namespace: str, **options: Any) -> Site:
    compute = ComputeSettings(internal_secret=SecretStr("internal-secret-of-the-tests"), jars_dir=JARS / "spark")
    return Site(Options(namespace=namespace, release=RELEASE, **options), compute=compute)


def left_behind(namespace: str) -> list[str]:
    """Return the Jobs and pods that are there and not on their way out."""
    found = [
        *client.BatchV1Api().list_namespaced_job(namespace).items,
        *client.CoreV1Api().list_namespaced_pod(namespace).items,
    ]
    return [each.metadata.name for each in found if each.metadata.deletion_timestamp is None]


def settled(namespace: str) -> None:
    """Wait until nothing is left: the cluster removes a Job's pod a moment after the Job."""
    kubectl("wait", "--for=delete", "jobs,pods", "--all", "-n", namespace, "--timeout=60s")
    assert left_behind(namespace) == []


def test_the_accounts_of_the_chart_pass_by_impersonation(namespace: str) -> None:
    found = ask_group(site(namespace), Group.CLUSTER)
    assert {result.status for result in found.values()} == {Status.PASS}, found
    assert "v1.3" in found["cluster.reachable"].detail


def test_the_launcher_asks_for_itself(namespace: str) -> None:
    token = kubectl("create", "token", f"{RELEASE}-launcher", "-n", namespace).strip()
    settings = client.Configuration()
    config.load_kube_config(client_configuration=settings)
    settings.cert_file = settings.key_file = None
    settings.api_key = {"authorization": f"Bearer {token}"}
    cluster = KubernetesReview(BoundedApiClient(settings), namespace)
    found = ask_group(Site(Options(), connect=lambda _: cluster), Group.CLUSTER)
    assert found["cluster.launcher_rights"].status is Status.PASS, found
    assert f"{namespace}:{RELEASE}-launcher" in found["cluster.reachable"].detail
    for name in ("cluster.run_rights", "cluster.no_more_rights"):
        assert (found[name].status, "may not act as" in found[name].detail) == (Status.SKIP, True), found


@proves("cluster.launcher_rights", "cluster.webserver_rights", "cluster.run_rights", "cluster.no_more_rights")
def test_a_release_that_is_not_there_and_an_account_that_may_too_much(namespace: str) -> None:
    absent = Site(Options(namespace=namespace, release="absent"))
    assert ask(absent, "cluster.launcher_rights").status is Status.FAIL
    assert ask(absent, "cluster.webserver_rights").status is Status.FAIL
    assert ask(absent, "cluster.run_rights").status is Status.FAIL
    executor = f"{namespace}:{RELEASE}-executor"
    bind = ("rolebinding", "too-much", f"--role={RELEASE}-run", f"--serviceaccount={executor}", "-n", namespace)
    kubectl("create", *bind)
    found = ask(site(namespace), "cluster.no_more_rights")
    kubectl("delete", "rolebinding", "too-much", "-n", namespace)
    assert (found.status, f"{RELEASE}-executor may create" in found.detail) == (Status.FAIL, True), found


@proves("cluster.reachable")
def test_an_api_server_that_is_away_is_found(namespace: str) -> None:
    settings = client.Configuration(host="https://127.0.0.1:9")
    settings.retries = 0
    away = Site(Options(), connect=lambda _: KubernetesReview(BoundedApiClient(settings), namespace))
    assert ask(away, "cluster.reachable").status is Status.FAIL


def test_the_compute_image_passes_and_its_pod_is_gone(namespace: str, image: str) -> None:
    found = ask_group(site(namespace, image=image), Group.IMAGES)
    assert found["images.pullable"].status is Status.PASS, found
    assert found["images.jars"].status is Status.PASS, found
    # This host's Python and Java may be of another series than the image's; what is pinned may not.
    assert not re.search(r"(pyspark|hadoop\w*) \S+ instead of", found["images.versions"].detail), found
    assert found["images.versions"].status is not Status.SKIP, found
    settled(namespace)


@proves("images.pullable")
def test_an_image_that_is_not_there_is_told_in_the_clusters_words(namespace: str) -> None:
    found = ask(site(namespace, image="registry.invalid/lakemill-compute:gone"), "images.pullable")
    assert (found.status, "ImagePullBackOff" in found.detail) == (Status.FAIL, True), found
    assert "registry.invalid" in found.detail
    settled(namespace)


def test_a_pod_that_no_node_takes_is_told_and_removed(namespace: str, image: str) -> None:
    pod = ShortPod(image, ("true",), spec={"nodeSelector": {"lakemill/nowhere": "true"}}, seconds=3)
    end = KubernetesReview.connect(namespace).run(pod)
    assert (end.exit_code, "didn't match Pod's node affinity/selector" in end.problem) == (None, True), end
    settled(namespace)


@proves("images.pullable")
def test_a_quota_that_is_too_small_is_told_in_the_clusters_words(namespace: str, image: str) -> None:
    kubectl("create", "quota", "tight", "--hard=pods=0", "-n", namespace)
    found = ask(site(namespace, image=image), "images.pullable")
    kubectl("delete", "quota", "tight", "-n", namespace)
    assert (found.status, "exceeded quota: tight" in found.detail) == (Status.FAIL, True), found
    settled(namespace)
