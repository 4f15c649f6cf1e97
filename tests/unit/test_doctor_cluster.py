"""The checks of a cluster against one that is a list of rights."""

import pytest

from cli.doctor.check import Group, Result, Status
from cli.doctor.cluster import ACCOUNTS
from cli.doctor.site import NotConfiguredError, Options, Site
from resources.cluster.port import ClusterError
from resources.cluster.review import Access, ShortPod
from resources.cluster.short_pod import job_of
from tests.doctor import ask, ask_group, proves
from tests.fake_cluster import TABLE, FakeCluster, site


def ask_cluster(cluster: FakeCluster, name: str) -> Result:
    return ask(site(cluster), name)


def test_the_chart_names_every_account() -> None:
    assert set(TABLE) == {"launcher", "webserver", "run"}
    assert set(TABLE) < set(ACCOUNTS)
    assert Access("", "pods/log", "get") in TABLE["launcher"]


def test_a_release_as_the_chart_makes_it_passes() -> None:
    found = ask_group(site(FakeCluster()), Group.CLUSTER)
    assert {result.status for result in found.values()} == {Status.PASS}, found
    assert f"all {len(TABLE['run'])} things" in found["cluster.run_rights"].detail


@pytest.mark.parametrize("access", sorted(TABLE["launcher"]))
@proves("cluster.launcher_rights")
def test_each_verb_that_the_launcher_lacks_is_found(access: Access) -> None:
    assert_missed("launcher", access)


@pytest.mark.parametrize("access", sorted(TABLE["run"]))
@proves("cluster.run_rights")
def test_each_verb_that_a_run_lacks_is_found(access: Access) -> None:
    assert_missed("run", access)


@pytest.mark.parametrize("access", sorted(TABLE["webserver"]))
@proves("cluster.webserver_rights")
def test_each_verb_that_the_webserver_lacks_is_found(access: Access) -> None:
    assert_missed("webserver", access)


def assert_missed(suffix: str, access: Access) -> None:
    cluster = FakeCluster()
    cluster.granted[f"lakemill-{suffix}"] = TABLE[suffix] - {access}
    found = ask_cluster(cluster, f"cluster.{suffix}_rights")
    assert (found.status, found.detail) == (Status.FAIL, f"lakemill-{suffix} may not {access}")


@pytest.mark.parametrize("suffix", ACCOUNTS)
@proves("cluster.no_more_rights")
def test_an_account_that_may_do_more_is_found(suffix: str) -> None:
    cluster = FakeCluster()
    access = Access("batch", "jobs", "create") if suffix != "launcher" else Access("", "pods", "create")
    cluster.granted[f"lakemill-{suffix}"] = {*TABLE.get(suffix, ()), access}
    found = ask_cluster(cluster, "cluster.no_more_rights")
    assert (found.status, found.detail) == (Status.FAIL, f"lakemill-{suffix} may {access}")


def test_an_account_asks_for_itself_and_says_what_it_cannot_ask() -> None:
    cluster = FakeCluster(
        me="system:serviceaccount:mill:big-mill-launcher", granted={"big-mill-launcher": TABLE["launcher"]}
    )
    found = ask_group(site(cluster), Group.CLUSTER)
    assert found["cluster.launcher_rights"].status is Status.PASS
    for name in ("cluster.run_rights", "cluster.no_more_rights"):
        assert (found[name].status, "may not act as 'big-mill-" in found[name].detail) == (Status.SKIP, True)


@proves("cluster.reachable")
def test_a_cluster_that_is_away_is_found() -> None:
    def connect(_: str | None) -> FakeCluster:
        raise ClusterError("the API server does not answer")

    assert ask(Site(Options(), connect=connect), "cluster.reachable").status is Status.FAIL


@pytest.mark.parametrize(("wanted", "status"), [(False, Status.SKIP), (True, Status.FAIL)])
def test_outside_a_cluster_the_group_is_skipped_unless_asked_for(wanted: bool, status: Status) -> None:
    def connect(_: str | None) -> FakeCluster:
        raise NotConfiguredError("neither in a pod nor with a kubeconfig")

    assert ask(Site(Options(), connect=connect), "cluster.reachable", wanted=wanted).status is status


def test_the_short_pod_is_restricted_and_ends_by_itself() -> None:
    job = job_of("doctor", ShortPod("image", ("true",), "account", {"nodeSelector": {"disk": "ssd"}}, seconds=60))
    spec = job["spec"]["template"]["spec"]
    assert job["spec"]["activeDeadlineSeconds"] == 90
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert job["spec"]["backoffLimit"] == 0
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["nodeSelector"] == {"disk": "ssd"}
    (container,) = spec["containers"]
    assert "command" not in container  # the image's own entrypoint runs
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
