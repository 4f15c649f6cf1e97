"""From the log to runs: poll, show the records to the control plane, ask Dagster to launch what it answers.

The sensor judges no record. It moves Dagster's cursor only behind records that the control plane has answered, and
Dagster stores that cursor only after it has submitted the runs (docs/decisions/0004-sensor-and-cursor.md).

The relay's topic goes first, each direct topic by itself afterwards: what befalls one delays no other
(docs/decisions/0012-producers-on-kafka.md).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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

from assets.partitions import DATA_VERSIONS, ENTITIES, PROCESS_TAG, partition_key
from contracts.cursor import Cursor
from contracts.intake import LAUNCH_TAG, IntakeRequest, Launch, LogGap, LogPosition, LogRecord, RecordAnswer, Verdict
from resources.faults import crash_point
from resources.log import Polled
from resources.settings import ComputeSettings
from sensors.holds import Holds

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from resources.control_plane import ControlPlane
    from resources.log import RecordLog

REPORT_SECONDS = 15.0
"""An idle tick tells the control plane where we stand at most this often, unless that has changed."""

DIRECT_SECONDS = 25.0
"""A tick that has taken so long shows no further direct topic: the next one does, and begins with that."""
FAILED_SECONDS = 30.0
"""A direct topic that the control plane failed at is left alone for so long."""

log = structlog.get_logger(__name__)

ExistingKeys = Callable[[str, Sequence[str]], Collection[str]]
"""Dimension name, keys → those that Dagster has."""
SizeOf = Callable[[Launch], Mapping[str, str]]
"""A launch → the tags that give its run the size that was granted."""
Answers = dict[LogPosition, RecordAnswer]


@dataclass(slots=True)
class Memory:
    """What the control plane was told last, and when; kept in the code server between ticks."""

    persisted: Cursor | None = None
    told_at: float = 0.0
    shown_at: dict[str, float] = field(default_factory=dict)
    """Direct topic → when it was last shown."""
    holds: Holds = field(default_factory=Holds)

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
    memory: Memory
    relay_topic: str
    wait_seconds: float
    max_records: int
    clock: Callable[[], float] = monotonic

    def tick(self, stored: str | None) -> Tick:
        """Poll behind the cursor that Dagster stores and decide what to launch.

        Raises RecordLogError and ControlPlaneError: the tick fails, and Dagster keeps the cursor it has.
        """
        began, persisted = self.clock(), Cursor.parse(stored)
        held = self.memory.holds.at(began)
        wait = self.memory.holds.wait(began, self.wait_seconds)
        polled = self.log.poll(persisted, wait_seconds=wait, max_records=self.max_records, held=held)
        crash_point("S1")
        by_topic = _by_topic(polled.records)
        answers = self._show(persisted, by_topic.pop(self.relay_topic, []), polled.gaps)
        # Who was shown longest ago goes first, so that no busy topic keeps another from its turn.
        for topic in sorted(by_topic, key=lambda topic: self.memory.shown_at.get(topic, 0.0)):
            if self.clock() - began < DIRECT_SECONDS:
                answers |= self._show_direct(persisted, topic, by_topic[topic])
        cursor = self._behind_answered(polled, answers)
        launches = {found.launch.launch_id: found.launch for found in answers.values() if found.launch is not None}
        runs, keys = self._requests(launches.values())
        return Tick(cursor, runs, keys, _summary(answers.values()))

    def _show(self, persisted: Cursor, records: list[LogRecord], gaps: list[LogGap]) -> Answers:
        now = self.clock()
        if not records and not gaps and not self.memory.is_worth_telling(persisted, now):
            return {}
        request = IntakeRequest(persisted=persisted, actions=dict(self.actions), records=records, gaps=gaps)
        answer = self.control_plane.intake(request)
        self.memory.persisted, self.memory.told_at = persisted, now
        return {found.position: found for found in answer.answers}

    def _show_direct(self, persisted: Cursor, topic: str, records: list[LogRecord]) -> Answers:
        """Show what one direct topic holds; a failure is this topic's only, and its records come again."""
        from resources.control_plane import ControlPlaneError  # noqa: PLC0415 - the code location loads without it

        self.memory.shown_at[topic] = self.clock()
        try:
            return self._show(persisted, records, [])
        except ControlPlaneError as error:
            log.error("direct_topic.not_taken_in", topic=topic, error=str(error), again_in=FAILED_SECONDS)  # noqa: TRY400
            partitions = {(topic, record.position.partition) for record in records}
            self.memory.holds.hold(partitions, self.clock() + FAILED_SECONDS)
            return {}

    def _behind_answered(self, polled: Polled, answers: Answers) -> Cursor:
        """Return the polled cursor, but before what was not shown or is to be shown later."""
        cursor, now = polled.cursor, self.clock()
        for topic, records in _by_topic(polled.records).items():
            again: dict[int, int] = {}
            for record in reversed(records):
                answer, at = answers.get(record.position), record.position
                if answer is None or answer.verdict is Verdict.LATER:
                    again[at.partition] = at.offset
                if answer is not None and answer.again_in > 0:
                    self.memory.holds.hold([(topic, at.partition)], now + answer.again_in)
            cursor = cursor.back_at(topic, again)
        return cursor

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
        log.error("launch.without_job", launch_id=str(launch.launch_id), action=launch.action)
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


def _by_topic(records: Iterable[LogRecord]) -> dict[str, list[LogRecord]]:
    found: dict[str, list[LogRecord]] = {}
    for record in records:
        found.setdefault(record.topic, []).append(record)
    return found


def _summary(answers: Iterable[RecordAnswer]) -> str:
    counts = Counter(found.verdict for found in answers)
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]) or "no records"


def process_requests_sensor(
    actions: Mapping[str, str], jobs: Sequence["UnresolvedAssetJobDefinition"], size_of: SizeOf
) -> SensorDefinition:
    """Return the sensor ``process_requests`` over ``actions`` (name → digest), each with a job of the same name."""
    memory = Memory()

    @sensor(
        name="process_requests",
        jobs=jobs,
        required_resource_keys={"settings", "record_log", "intake"},
        # The tick itself waits for records, so the daemon should call again at once.
        minimum_interval_seconds=1,
        default_status=DefaultSensorStatus.RUNNING,
        description="Shows what the log holds to the control plane, and launches what it answers.",
    )
    def process_requests(context: SensorEvaluationContext) -> SensorResult:
        settings: ComputeSettings = context.resources.settings
        tick = ProcessRequests(
            log=context.resources.record_log,
            control_plane=context.resources.intake,
            actions=actions,
            size_of=size_of,
            existing_keys=context.instance.get_existing_dynamic_partitions,
            memory=memory,
            relay_topic=settings.kafka_topic,
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
