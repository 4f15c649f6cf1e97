"""Dagster's launcher for Kubernetes, with four methods of its own (docs/decisions/0009-who-says-why-a-pod-failed.md).

Spark may start with the pod, no image runs that the deployment does not name, and a silent API server is no sign of
death. Above all: when a run pod fails, the requester is told why, in words. There the order is what matters.
The control plane takes a run that is over and has not reported for dead, without knowing why. So the reason is reported
before Dagster marks the run as failed: here, where Dagster learns of it.
"""

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any
from uuid import UUID

import structlog
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from kubernetes.client import ApiException, BatchV1Api, CoreV1Api
from sqlalchemy.exc import SQLAlchemyError
from urllib3.exceptions import HTTPError

from assets.profiles import load_images, load_profiles
from assets.running.pod_failures import (
    reason_of_absence,
    reason_of_complaints,
    reason_of_error,
    reason_of_job,
    reason_of_pods,
    reason_of_refusal,
    reason_of_silence,
)
from contracts.intake import LAUNCH_TAG
from contracts.messages import Profile
from contracts.problems import LakemillError
from contracts.reasons import Reason, ReasonCode
from contracts.reports import Event, Report
from orchestration.k8s import pod_variables
from orchestration.start_watch import StartWatch
from resources.cluster.api import answering, cluster_error, connect
from resources.cluster.kubernetes import KubernetesCluster
from resources.cluster.port import Cluster, ClusterError, Pod
from resources.control_plane import AttemptSupersededError, ControlPlane, ControlPlaneError, HttpControlPlane
from resources.settings import compute_settings

log = structlog.get_logger(__name__)

ROLE = "run pod"
_PATIENCE_SECONDS = 10.0
_REMEMBERED = 1000


class ForeignImageError(LakemillError):
    """A run asks for an image that the deployment does not name."""


class LakemillRunLauncher(K8sRunLauncher):
    """Launches runs as Jobs, reports why one failed, and removes what is left of it.

    ``control_plane``, ``cluster`` and ``images`` are made at their first use; a test sets its own.
    """

    def __init__(self, **config: Any) -> None:
        """Take what dagster-k8s is configured with. Its own clients would wait for ever for a mute API server."""
        if "k8s_client_batch_api" not in config:
            api, _ = connect()
            config |= {"k8s_client_batch_api": BatchV1Api(api), "k8s_client_core_api": CoreV1Api(api)}
        super().__init__(**config)
        # Two threads of the daemon come here: the run queue's and run monitoring's.
        self._left: set[str] = set()
        """Jobs that could not be deleted: a pod that pends would start one day, and holds quota until then."""
        self._disrupted: dict[str, list[Pod]] = {}
        """Pods that the cluster was taking away when they were last seen, by run: soon nobody can look at them."""

    @cached_property
    def control_plane(self) -> ControlPlane:
        """The control plane that hears of failures."""
        return HttpControlPlane(compute_settings(), patience=_PATIENCE_SECONDS)

    @cached_property
    def images(self) -> Collection[str]:
        """The images that actions may name, beside the usual one."""
        return set(load_images().values())

    @cached_property
    def profiles(self) -> Collection[Profile]:
        """The deployment's named profiles."""
        return list(load_profiles().values())

    @cached_property
    def cluster(self) -> Cluster:
        """The namespace that the Jobs are in."""
        return KubernetesCluster(self.job_namespace)

    @cached_property
    def starting(self) -> StartWatch:
        """Watches what was launched until it has started."""
        return StartWatch(self.cluster, ROLE, partial(self._report, event=Event.WAITING))

    def launch_run(self, context: LaunchRunContext) -> None:
        """Create the run's Job. Raises what the API server answers, after it was reported as the run's reason."""
        run = context.dagster_run
        self._sweep()
        try:
            # A Job that is there already was made by a daemon that died before it noted so.
            if self.cluster.job(_job_name(run)) is None:
                self._check_image(run)
                super().launch_run(context)
        except Exception as error:
            self._report(run, _reason_of(error))
            self._discard(_job_name(run))  # it may have been made, and only the answer lost
            raise
        self.starting.add(_job_name(run), run)  # outside: a watch that fails must not remove a Job that works

    def get_container_context_for_run(self, dagster_run: DagsterRun) -> K8sContainerContext:
        """Return what dagster-k8s does, and what tells the pod for which profile Spark may start at once.

        Only a profile of this deployment: whoever reaches the webserver may set a run's tags, and nobody has yet looked
        at what the run was granted.
        """
        context = super().get_container_context_for_run(dagster_run)
        return context.merge(K8sContainerContext(env_vars=pod_variables(dagster_run.tags, self.profiles)))

    def _check_image(self, run: DagsterRun) -> None:
        """Return when the run's image is the deployment's: whoever reaches the webserver may set a run's tags."""
        asked = self.get_container_context_for_run(run).run_k8s_config.container_config.get("image")
        if asked not in {None, self.job_image, *self.images}:
            raise ForeignImageError(f"the image {asked} is none of this deployment's: name it in actionImages")

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell how the Job of a started run stands. A silent API server is no sign of death: the run may well live."""
        self._sweep()
        try:
            if self.cluster.job(_job_name(run)) is None:
                return CheckRunHealthResult(WorkerStatus.FAILED, "the Job is gone")
            self._remember(run)
        except ClusterError as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"nothing is known, so nothing is concluded: {error}")
        health = super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING) if health.status == WorkerStatus.UNKNOWN else health

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Return what Dagster shows of a failed worker.

        Run monitoring asks for it when it gives a run up, right before it says so, and nobody else does. It is the one
        moment to report the reason and to remove the Job, which Dagster leaves: a pod that pends would start one day.
        """
        try:
            self._report(run, self._why(run))
        except ClusterError as error:
            self._report(run, reason_of_error(error, ROLE))
            self._left.add(_job_name(run))
            return None
        try:
            with answering("what is left of a run"):
                return super().get_run_worker_debug_info(run, include_container_logs)
        except ClusterError as error:
            return str(error)
        finally:
            self._discard(_job_name(run))

    def _remember(self, run: DagsterRun) -> None:
        pods = self.cluster.pods(f"job-name={_job_name(run)}")
        if any(pod.disruption for pod in pods):
            self._disrupted[run.run_id] = pods
            if len(self._disrupted) > _REMEMBERED:  # the oldest: a run that could tell of it itself is never asked for
                del self._disrupted[next(iter(self._disrupted))]

    def _why(self, run: DagsterRun) -> Reason:
        name = _job_name(run)
        before = self._disrupted.pop(run.run_id, [])
        job, pods = self.cluster.job(name), self.cluster.pods(f"job-name={name}")
        found = (
            reason_of_job(job, ROLE)
            or reason_of_pods([*pods, *before], ROLE)
            or reason_of_complaints(self.cluster.complaints("Job", name), ROLE)
        )
        if found is not None:
            return found
        had_started = self._had_started(run)
        if job is None or (had_started and not pods):
            return reason_of_absence(ROLE, had_started=had_started)
        complaints = [said for pod in pods for said in self.cluster.complaints("Pod", pod.name)]
        return reason_of_silence(self._instance.run_monitoring_start_timeout_seconds, ROLE, complaints)

    def _had_started(self, run: DagsterRun) -> bool:
        if run.status is not DagsterRunStatus.CANCELING:
            return run.status is DagsterRunStatus.STARTED
        record = self._instance.get_run_record_by_id(run.run_id)  # its status does not tell any more
        return record is not None and record.start_time is not None

    def _discard(self, job: str) -> None:
        """Delete a Job with its pods, now or later."""
        try:
            self.cluster.delete_job(job)
            self._left.discard(job)
        except ClusterError as error:
            self._left.add(job)
            log.warning("launcher.job_left", job=job, error=str(error))

    def _sweep(self) -> None:
        """Try one of those again: while the cluster is silent, each takes its time."""
        for job in tuple(self._left)[:1]:
            self._discard(job)

    def _report(self, run: DagsterRun, reason: Reason, event: Event = Event.FAILED) -> None:
        launch_id = run.tags.get(LAUNCH_TAG)
        if launch_id is None:
            return  # an operator's run: nobody waits for it
        try:
            for member in self.control_plane.members(UUID(launch_id)).members:
                told = Report(
                    event=event,
                    at=datetime.now(UTC),
                    run_id=run.run_id,
                    process_id=member.process_id,
                    attempt=member.attempt,
                    reason=reason,
                )
                with suppress(AttemptSupersededError):  # of this member; the others still wait
                    self.control_plane.report(told)
        except ControlPlaneError as error:
            # The reconciler will find the run dead, and say that much.
            log.warning("launcher.unheard", run_id=run.run_id, reason=reason.code, error=str(error))


def _job_name(run: DagsterRun) -> str:
    return f"dagster-run-{run.run_id}"  # as dagster_k8s names it; no run is ever resumed


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, ClusterError):
        return reason_of_error(error, ROLE)
    origin = error.__cause__ or error  # Dagster wraps what the client raised
    if isinstance(origin, ApiException | HTTPError):
        return reason_of_error(cluster_error(origin), ROLE)
    told = f"{type(error).__name__}: {error}"
    if isinstance(origin, SQLAlchemyError):  # Dagster notes in its database what it launches
        return Reason(code=ReasonCode.RUN_DIED, message=f"The run could not be launched ({told})")
    return reason_of_refusal(told, ROLE)
