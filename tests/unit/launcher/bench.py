"""A run launcher over fakes, and a launch whose members wait for its run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
from dagster._core.launcher import LaunchRunContext
from dagster_k8s.client import k8s_api_retry_creation_mutation
from kubernetes.client import ApiException, V1Job, V1JobStatus
from urllib3.exceptions import MaxRetryError

from contracts.intake import LAUNCH_TAG
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from contracts.reports import Event, LaunchMembers, Member, Report, ReportAnswer
from orchestration.k8s import ALLOWED_FIELDS, run_tags
from orchestration.launcher import LakemillRunLauncher
from resources.cluster.port import Pod
from resources.control_plane import ControlPlaneUnavailableError
from tests.control_plane import FakeControlPlane
from tests.memory_cluster import QUOTA, MemoryCluster

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
"""
REFUSED = ApiException(status=403, reason="Forbidden")
REFUSED.body = json.dumps({"message": f'jobs.batch "x" is forbidden: {QUOTA}'})
SILENT = MaxRetryError(SimpleNamespace(host="kubernetes"), "/apis/batch/v1", OSError("connection refused"))  # type: ignore[arg-type]


@dg.op
def nothing() -> None:
    pass


@dg.job
def action() -> None:
    nothing()


class Api:
    """The two Kubernetes clients of dagster-k8s: they take Jobs, or raise ``error``, and know no pods."""

    def __init__(self) -> None:
        self.created: list[V1Job] = []
        self.error: Exception | None = None
        self.status: V1JobStatus | Exception = V1JobStatus(active=1)

    def create_namespaced_job(self, body: V1Job, **_: Any) -> None:
        def create() -> None:
            if self.error is not None:
                raise self.error
            self.created.append(body)

        k8s_api_retry_creation_mutation(create, max_retries=0, timeout=0)  # what it raises in the end, without waiting

    def read_namespaced_job_status(self, *_: Any, **__: Any) -> V1Job:
        if isinstance(self.status, Exception):
            raise self.status
        return V1Job(status=self.status)

    def list_namespaced_pod(self, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(items=[])

    list_namespaced_job = list_namespaced_pod


class HeardControlPlane(FakeControlPlane):
    """Lets a test look around at the moment of each report."""

    on_report: Callable[[], None] = staticmethod(lambda: None)

    def report(self, report: Report) -> ReportAnswer:
        self.on_report()
        return super().report(report)


class AwayControlPlane(FakeControlPlane):
    """Nobody answers."""

    def members(self, launch_id: UUID) -> LaunchMembers:
        raise ControlPlaneUnavailableError(f"nobody answers for {launch_id}")


class World:
    """A launcher over fakes, and a launch with two members."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG)
        self.instance = instance
        self.api = Api()
        self.cluster = MemoryCluster()
        self.members = [member(), member()]
        self.control_plane = HeardControlPlane(*self.members)
        self.launcher = LakemillRunLauncher(
            service_account_name="run",
            instance_config_map="dagster",
            dagster_home="/etc/dagster",
            job_image="registry/compute:9",
            load_incluster_config=False,
            kubeconfig_file=str(kubeconfig),
            k8s_client_batch_api=self.api,
            k8s_client_core_api=self.api,
            only_allow_user_defined_k8s_config_fields=ALLOWED_FIELDS,
        )
        self.launcher.register_instance(instance)
        self.launcher.cluster = self.cluster
        self.launcher.control_plane = self.control_plane

    def run(
        self, tags: Mapping[str, str] | None = None, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED
    ) -> dg.DagsterRun:
        """Return a run, its Job not yet made: of the launch, unless it has tags of its own."""
        return self.instance.create_run_for_job(
            action,
            tags={LAUNCH_TAG: str(uuid4()), **run_tags(Profile())} if tags is None else tags,
            job_code_origin=dg.reconstructable(action).get_python_origin(),
            status=status,
        )

    def launch(self, run: dg.DagsterRun) -> None:
        self.launcher.launch_run(LaunchRunContext(run, None))

    def job(self, pod: Pod | None = None) -> dg.DagsterRun:
        """Return a run with its Job, and perhaps its pod."""
        run = self.run()
        self.cluster.start(name_of(run), pod)
        return run

    def told(self, run: dg.DagsterRun) -> tuple[ReasonCode, str]:
        """Return the one reason that all members were told, once each."""
        reports = self.control_plane.reports
        assert {report.event for report in reports} == {Event.FAILED}
        assert {report.run_id for report in reports} == {run.run_id}
        assert [(report.process_id, report.attempt) for report in reports] == [
            (member.process_id, member.attempt) for member in self.members
        ]
        (reason,) = {report.reason for report in reports}
        assert reason is not None
        return reason.code, reason.message


def member() -> Member:
    place = {"entity_id": "e", "data_version": "v", "dataset": "raw", "action": "action", "tenant": "default"}
    more = {"attempt": 2, "params": {}, "inputs": {}, "profile": Profile()}
    return Member.model_validate({"process_id": uuid4(), **place, **more})


def name_of(run: dg.DagsterRun) -> str:
    return f"dagster-run-{run.run_id}"
