"""From the log to runs: poll, show the records to the control plane, ask Dagster to launch what it answers.

The sensor judges no record. It moves Dagster's cursor only behind records that the control plane has answered, and
Dagster stores that cursor only after it has submitted the runs (docs/decisions/0004-sensor-and-cursor.md).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import structlog
from dagster import (
    AddDynamicPartitionsRequest,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from assets.partitions import DATA_VERSIONS, ENTITIES, LAUNCH_TAG, PROCESS_TAG, partition_key
from contracts.cursor import Cursor
from contracts.intake import IntakeAnswer, IntakeRequest, Launch, LogGap, LogRecord, Verdict
from resources.faults import crash_point
from resources.settings import ComputeSettings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from resources.control_plane import ControlPlane
    from resources.log import RecordLog

REPORT_SECONDS = 15.0
"""An idle tick tells the control plane where we stand at most this often, unless that has changed."""

log = structlog.get_logger(__name__)

ExistingKeys = Callable[[str, Sequence[str]], Collection[str]]
"""Dimension name, keys → those that Dagster has."""
SizeOf = Callable[[Launch], Mapping[str, str]]
"""A launch → the tags that give its run the size that was granted."""


@dataclass(slots=True)
class Watermark:
    """What the control plane was told last; kept in the code server between ticks."""

    persisted: Cursor | None = None
    told_at: float = 0.0

    def is_worth_telling(self, persisted: Cursor, now: float) -> bool:
        """Whether an idle tick should report ``persisted``."""
        return persisted != self.persisted or now - self.told_at >= REPORT_SECONDS


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick asks of Dagster."""

    cursor: Cursor
    runs: list[RunRequest]
    new_keys: list[AddDynamicPartitionsRequest]
    summary: str


@dataclass(frozen=True, slots=True)
class ProcessRequests:
    """One tick's collaborators and limits."""

    log: "RecordLog"
    control_plane: "ControlPlane"
    actions: Mapping[str, str]
    """Action name → code digest: what this code location can launch."""
    size_of: SizeOf
    existing_keys: ExistingKeys
    watermark: Watermark
    wait_seconds: float
    max_records: int
    clock: Callable[[], float] = monotonic

    def tick(self, stored: str | None) -> Tick:
        """Poll behind the cursor that Dagster stores and decide what to launch.

        Raises RecordLogError and ControlPlaneError: the tick fails, and Dagster keeps the cursor it has.
        """
        persisted = Cursor.parse(stored)
        polled = self.log.poll(persisted, wait_seconds=self.wait_seconds, max_records=self.max_records)
        crash_point("S1")
        answer = self._show(persisted, polled.records, polled.gaps)
        launches = {found.launch.launch_id: found.launch for found in answer.answers if found.launch is not None}
        runs, keys = self._requests(launches.values())
        return Tick(polled.cursor, runs, keys, _summary(answer))

    def _show(self, persisted: Cursor, records: list[LogRecord], gaps: list[LogGap]) -> IntakeAnswer:
        now = self.clock()
        if not records and not gaps and not self.watermark.is_worth_telling(persisted, now):
            return IntakeAnswer(answers=[])
        request = IntakeRequest(persisted=persisted, actions=dict(self.actions), records=records, gaps=gaps)
        answer = self.control_plane.intake(request)
        self.watermark.persisted, self.watermark.told_at = persisted, now
        return answer

    def _requests(self, launches: Iterable[Launch]) -> tuple[list[RunRequest], list[AddDynamicPartitionsRequest]]:
        # Each launch once: a repeated run_key within one tick would be submitted twice by Dagster.
        wanted = [launch for launch in launches if self._is_launchable(launch)]
        keys = {
            DATA_VERSIONS: dict.fromkeys(launch.data_version for launch in wanted),
            ENTITIES: dict.fromkeys(launch.entity_id for launch in wanted),
        }
        missing = {name: self._missing(name, list(found)) for name, found in keys.items() if found}
        requests = [AddDynamicPartitionsRequest(name, new) for name, new in missing.items() if new]
        return [run_request(launch, self.size_of(launch)) for launch in wanted], requests

    def _is_launchable(self, launch: Launch) -> bool:
        if launch.action in self.actions:
            return True
        # Left as it is: the reconciler finds that no run came of it and drives the process again.
        log.error("launch_without_job", launch_id=str(launch.launch_id), action=launch.action)
        return False

    def _missing(self, name: str, keys: Sequence[str]) -> list[str]:
        existing = self.existing_keys(name, keys)
        return [key for key in keys if key not in existing]


def run_request(launch: Launch, size: Mapping[str, str]) -> RunRequest:
    """Turn a launch into a run request: Dagster never makes a second run of one ``launch_id``."""
    return RunRequest(
        run_key=str(launch.launch_id),
        job_name=launch.action,
        partition_key=partition_key(launch.entity_id, launch.data_version),
        tags={LAUNCH_TAG: str(launch.launch_id), PROCESS_TAG: str(launch.process_id), **size},
    )


def _summary(answer: IntakeAnswer) -> str:
    counts = Counter(found.verdict for found in answer.answers)
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]) or "no records"


def process_requests_sensor(
    actions: Mapping[str, str], jobs: Sequence["UnresolvedAssetJobDefinition"], size_of: SizeOf
) -> SensorDefinition:
    """Return the sensor ``process_requests`` over ``actions`` (name → digest), each with a job of the same name."""
    watermark = Watermark()

    @sensor(
        name="process_requests",
        jobs=jobs,
        required_resource_keys={"settings", "record_log", "intake"},
        # The tick itself waits for records, so the daemon should call again at once.
        minimum_interval_seconds=1,
        default_status=DefaultSensorStatus.RUNNING,
        description="Reads released processes from the log, shows them to the control plane, launches what it answers.",
    )
    def process_requests(context: SensorEvaluationContext) -> SensorResult:
        settings: ComputeSettings = context.resources.settings
        tick = ProcessRequests(
            log=context.resources.record_log,
            control_plane=context.resources.intake,
            actions=actions,
            size_of=size_of,
            existing_keys=context.instance.get_existing_dynamic_partitions,
            watermark=watermark,
            wait_seconds=settings.poll_seconds,
            max_records=settings.poll_records,
        ).tick(context.cursor)
        crash_point("S3")
        return SensorResult(
            run_requests=tick.runs,
            skip_reason=None if tick.runs else tick.summary,
            cursor=tick.cursor.encode(),
            dynamic_partitions_requests=tick.new_keys,
        )

    return process_requests
