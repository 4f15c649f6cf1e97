"""Runs that compute nothing: each makes every call of a real one, and commits an empty snapshot to the real lake.

``python -m bench.stub_runs RATE`` reads the log and runs what intake answers, without Dagster, RATE a second at most.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

from assets.registry import registry
from assets.running.publication import Publisher
from assets.running.task import Published
from assets.snapshots.reader import Snapshot, find_snapshot
from contracts.commit import Commit, Provenance
from contracts.cursor import Cursor
from contracts.identity import Coordinate, new_token
from contracts.intake import IntakeRequest
from contracts.reports import Event, Member, Report
from resources.control_plane import ControlPlane, HttpControlPlane
from resources.kafka.log import KafkaRecordLog
from resources.lake.store import Lake, S3Lake
from resources.settings import compute_settings

ACTION = "ingest_orders"
_AT_ONCE = 4


class StubRuns:
    """A run of ``ACTION`` without Spark and data files: what it asks, tells and commits (``assets/running``)."""

    def __init__(self, control: ControlPlane, lake: Lake, permit_seconds: int) -> None:
        self._control = control
        self._lake = lake
        self._publisher = Publisher(lake, permit_seconds, lambda: datetime.now(UTC))
        self._action = registry()[ACTION]

    def run(self, launch_id: UUID, run_id: str) -> Iterator[Published]:
        """Publish for each member of a launch. Raises the control plane's and the lake's errors."""
        for member in self._control.members(launch_id).members:
            stages = {"run_started": datetime.now(UTC)}
            self._tell(member, run_id, stages, Event.STARTED)
            place = Coordinate(member.entity_id, member.data_version, member.dataset)
            if find_snapshot(self._lake, place) is not None:
                raise RuntimeError(f"{place} is published already")
            for stage in ("inputs_resolved", "spark_ready", "written", "audited"):
                stages[stage] = datetime.now(UTC)
            snapshot = self._publish(member, place, run_id, stages)
            self._tell(member, run_id, stages, Event.SUCCEEDED)
            yield Published(snapshot.commit, snapshot.digest, snapshot.url, stages)

    def _publish(self, member: Member, place: Coordinate, run_id: str, stages: dict[str, datetime]) -> Snapshot:
        token = new_token(str(member.process_id), member.attempt)
        provenance = Provenance(
            token=token,
            run_id=run_id,
            process_id=member.process_id,
            attempt=member.attempt,
            tenant=member.tenant,
            action=member.action,
            action_digest=self._action.digest,
            inputs={},
            params={},
            checks=[],
            stages=stages,
        )
        schema = self._action.schema.to_json()
        commit = Commit(
            coordinate=place, committed_at=datetime.now(UTC), schema_string=schema, files=[], provenance=provenance
        )
        return self._publisher.publish(
            commit, lambda until: self._tell(member, run_id, stages, Event.COMMITTING, token, until)
        )

    def _tell(
        self,
        member: Member,
        run_id: str,
        stages: dict[str, datetime],
        event: Event,
        token: str | None = None,
        until: datetime | None = None,
    ) -> None:
        report = Report(
            event=event,
            at=datetime.now(UTC),
            run_id=run_id,
            process_id=member.process_id,
            attempt=member.attempt,
            token=token,
            commit_expires_at=until,
            stages=stages,
        )
        self._control.report(report)


def _serve(rate: float) -> None:
    settings = compute_settings()
    control = HttpControlPlane(settings)
    runs = StubRuns(control, S3Lake(settings, settings.lake_bucket), settings.permit_seconds)
    log, cursor, digests = KafkaRecordLog(settings), Cursor.parse(None), {ACTION: registry().digests()[ACTION]}
    due = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            polled = log.poll(cursor, wait_seconds=1, max_records=50)
            if polled.records:
                shown = IntakeRequest(persisted=cursor, actions=digests, records=polled.records, gaps=polled.gaps)
                for answer in control.intake(shown).answers:
                    if answer.launch is not None:
                        due = max(due + 1 / rate, time.monotonic())
                        time.sleep(max(0.0, due - time.monotonic()))
                        running = pool.submit(
                            lambda launch: list(runs.run(launch, str(uuid4()))), answer.launch.launch_id
                        )
                        running.add_done_callback(lambda ended: ended.result())  # an error is logged
            cursor = polled.cursor


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
