"""One execution of one action at one coordinate: steps 6 to 10 of a process's life (docs/architecture.md).

Gate, inputs, Spark, write, audit, commit, report. The collaborators are passed in; nothing here knows Dagster. Whatever
goes wrong is told to the control plane with its reason and raised again, so that the run fails too.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel

from assets.declaration import Action
from assets.errors import AlreadyPublishedError
from assets.reading.deliveries import bad_rows_counted
from assets.reading.inputs import Input, input_bytes, input_used, resolve_inputs
from assets.running.audit import Written, measure, scan_of
from assets.running.committer import data_files, finished_files, refuse_occupied
from assets.running.failures import reason_for
from assets.running.publication import Publisher, refuse_collected, refuse_retired
from assets.running.task import Published, Task, Tools
from assets.running.transform import parse_params, transform, unsound_told
from assets.snapshots.reader import Snapshot, find_snapshot, read_files
from contracts.commit import Commit, Provenance
from contracts.identity import Coordinate, new_token
from contracts.messages import Profile
from contracts.reasons import Reason, ReasonCode
from contracts.reports import MAX_RUN_SECONDS, Event, Member, Report
from contracts.sources import SourceParams
from contracts.storage import CorruptSnapshotError, Stage, token_prefix
from resources.control_plane import AttemptSupersededError, ControlPlaneError
from resources.faults import crash_point

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = structlog.get_logger()
_BEGAN_BEFORE_SECONDS = 60  # Dagster's limit counts from before our first stage


def run_member(member: Member, *, run_id: str, action: Action, tools: Tools) -> Published:
    """Compute and publish one attempt of a launch.

    Raises AttemptSupersededError when the attempt is no longer wanted, and every error that ended it otherwise.
    """
    task = Task(
        action=action,
        coordinate=Coordinate(member.entity_id, member.data_version, member.dataset),
        run_id=run_id,
        profile=member.profile,
        params=member.params,
        inputs=member.inputs,
        process_id=member.process_id,
        attempt=member.attempt,
        tenant=member.tenant,
    )
    return _Run(task, tools).execute()


def run_operator(
    action: Action, entity_id: str, data_version: str, *, run_id: str, profile: Profile, tools: Tools
) -> Published:
    """Compute and publish for an operator who started the run by hand. Raises every error that ended it."""
    coordinate = Coordinate(entity_id, data_version, action.output)
    return _Run(Task(action=action, coordinate=coordinate, run_id=run_id, profile=profile), tools).execute()


class _Run:
    """One execution; ``execute`` is called once."""

    def __init__(self, task: Task, tools: Tools) -> None:
        self._task = task
        self._tools = tools
        self._token = new_token(str(task.process_id or task.run_id), task.attempt or 0)
        self._folder = token_prefix(task.coordinate, self._token)
        self._stages: dict[str, datetime] = {}
        self._in_action = False

    def execute(self) -> Published:
        try:
            self._reach(Stage.RUN_STARTED)
            self._tell(Event.STARTED)
            return self._earlier() or self._compute()
        except AttemptSupersededError:
            raise
        except BaseException as error:
            self._tell_failure(self._reason_of(error), error)
            raise

    def _reason_of(self, error: BaseException) -> Reason:
        sessions = self._tools.sessions
        # Whoever ends this process from outside interrupts it, and the cluster may know why.
        told = None if isinstance(error, Exception) else sessions.interruption() or self._time_over()
        return told or reason_for(
            error,
            in_action=self._in_action,
            lost_driver=sessions.lost_driver(),
            lost_executors=sessions.lost_executors(),
        )

    def _time_over(self) -> Reason | None:
        """Return why this process is being ended when it has worked for as long as a run may."""
        if self._now() - self._stages[Stage.RUN_STARTED] < timedelta(seconds=MAX_RUN_SECONDS - _BEGAN_BEFORE_SECONDS):
            return None
        told = f"the run was still at work when its time, {MAX_RUN_SECONDS} s, was over"
        return Reason(code=ReasonCode.RUN_TIMED_OUT, message=f"{told}; ask for a larger resource_profile")

    def _earlier(self) -> Published | None:
        """Return the snapshot of this process's own earlier attempt; raise when the coordinate is somebody else's.

        Raises RetiredError when it is nobody's any more.
        """
        refuse_retired(self._tools.lake, self._task.coordinate)
        try:
            found = find_snapshot(self._tools.lake, self._task.coordinate)
        except CorruptSnapshotError as error:
            raise AlreadyPublishedError(f"something else lies at the coordinate: {error}") from error
        if found is None:
            refuse_occupied(self._tools.lake, self._task.coordinate)
            return None
        if self._task.process_id is None or found.commit.provenance.process_id != self._task.process_id:
            raise AlreadyPublishedError(f"{self._task.coordinate} is published already: see {found.url}")
        return self._succeeded(found)

    def _compute(self) -> Published:
        task, tools = self._task, self._tools
        params = parse_params(task.action, task.params)
        source = params.source if isinstance(params, SourceParams) else None
        inputs = resolve_inputs(
            task.action,
            task.coordinate,
            task.inputs,
            lake=tools.lake,
            delivery=lambda place: tools.sources.find(source, place, task.tenant),
            unpacked_bytes=tools.landing_unpacked_bytes,
        )
        self._reach(Stage.INPUTS_RESOLVED)
        spark = tools.sessions.open(task.profile)
        self._reach(Stage.SPARK_READY)
        with tools.sessions.executors() as are_apart:
            if are_apart:
                self._reach(Stage.EXECUTORS_READY)
            with bad_rows_counted(spark, inputs.values()):
                self._write(spark, inputs, params)
                # It may be the first to read a row: an action need not read all.
                commit = self._audit(spark, inputs, params)
        publisher = Publisher(tools.lake, tools.permit_seconds, tools.clock, tools.sleep)
        return self._succeeded(publisher.publish(commit, self._ask_permit))

    def _write(self, spark: "SparkSession", inputs: Mapping[str, Input], params: BaseModel) -> None:
        self._in_action = True
        frames = {name: source.to_spark(spark) for name, source in inputs.items()}
        frame = transform(self._task.action, frames, params)
        crash_point("J2")
        with unsound_told(self._task.action):
            frame.write.mode("errorifexists").parquet(self._tools.lake.spark_url(self._folder))
        self._in_action = False
        crash_point("J5")
        self._reach(Stage.WRITTEN)

    def _audit(self, spark: "SparkSession", inputs: Mapping[str, Input], params: BaseModel) -> Commit:
        task, lake, schema = self._task, self._tools.lake, self._task.action.schema
        footers = finished_files(lake, task.coordinate, self._token)
        files = data_files(footers, self._folder, schema)
        urls = [lake.spark_url(footer.key) for footer in footers]
        written = Written(schema, footers, scan_of(lambda: read_files(spark, schema, urls)))
        checks = measure(task.action.checks, written, lambda name: inputs[name].rows(spark))
        self._reach(Stage.AUDITED)
        provenance = Provenance(
            token=self._token,
            run_id=task.run_id,
            process_id=task.process_id,
            attempt=task.attempt,
            tenant=task.tenant,
            action=task.action.name,
            action_digest=task.action.digest,
            inputs={name: input_used(source) for name, source in inputs.items()},
            params=params.model_dump(mode="json"),
            checks=checks,
            resources={"input_bytes": input_bytes(inputs), **self._resources()},
            stages=self._stages,
        )
        return Commit(
            coordinate=task.coordinate,
            committed_at=self._now(),
            schema_string=schema.to_json(),
            files=files,
            provenance=provenance,
        )

    def _succeeded(self, snapshot: Snapshot) -> Published:
        crash_point("J7")
        try:
            self._tell(Event.SUCCEEDED if self._task.process_id else Event.PUBLISHED)
        except ControlPlaneError as error:
            # The commit is the truth; the control plane finds it without us.
            _log.warning("run.unreported", coordinate=str(self._task.coordinate), error=str(error))
        return Published(snapshot.commit, snapshot.digest, snapshot.url, dict(self._stages))

    def _tell_failure(self, reason: Reason, error: BaseException) -> None:
        try:
            self._tell(Event.FAILED, reason)
        except ControlPlaneError as unheard:
            error.add_note(f"and the failure could not be reported: {unheard}")

    def _ask_permit(self, commit_expires_at: datetime) -> None:
        self._tell(Event.COMMITTING, commit_expires_at=commit_expires_at)
        # After the URL was signed: gc takes the marker first, and waits for the end of what was signed before.
        refuse_collected(self._tools.lake, self._task.coordinate, self._token)

    def _tell(self, event: Event, reason: Reason | None = None, commit_expires_at: datetime | None = None) -> None:
        task = self._task
        if task.process_id is None and event is not Event.PUBLISHED:
            return  # nobody waits for an operator's run
        report = Report(
            event=event,
            at=self._now(),
            run_id=task.run_id,
            process_id=task.process_id,
            attempt=task.attempt,
            token=self._token if event is Event.COMMITTING else None,
            commit_expires_at=commit_expires_at,
            reason=reason,
            stages=self._stages,
            resources=self._resources() if event is Event.FAILED else {},
        )
        if event is Event.PUBLISHED:
            place = task.coordinate
            report = report.model_copy(
                update={"entity_id": place.entity_id, "data_version": place.data_version, "dataset": place.dataset}
            )
        self._tools.control.report(report)

    def _resources(self) -> dict[str, Any]:
        return {"granted": self._task.profile.model_dump(), **self._tools.sessions.usage()}

    def _reach(self, stage: Stage) -> None:
        self._stages[stage.value] = self._now()

    def _now(self) -> datetime:
        return self._tools.clock()
