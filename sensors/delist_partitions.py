"""Keeps Dagster's dynamic partitions few: old data versions go from its lists, and the entities that only they had.

Snapshots, runs and events stay. The next launch at a delisted key brings it back: ``process_requests`` adds what is
missing when it asks for a run, and so does the run before it ends (docs/decisions/0014-old-partitions-are-delisted.md).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Self

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    DeleteDynamicPartitionsRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import MULTIDIMENSIONAL_PARTITION_PREFIX

from assets.partitions import DATA_VERSIONS, ENTITIES, partition_key
from resources.settings import ComputeSettings

INTERVAL_SECONDS = 600
VERSIONS_AT_ONCE = 200
UNUSED_AT_ONCE = 1000
PAIRS_AT_ONCE = 2000
"""Partitions (version and entity) that one query asks about."""
BUDGET_SECONDS = 10.0
"""How long one pass looks for unused entities; it has 60 s in all."""
_VERSION_TAG = f"{MULTIDIMENSIONAL_PARTITION_PREFIX}{DATA_VERSIONS}"
_TRACES = (DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_MATERIALIZATION)
"""A run plans its partition when it is created; a snapshot that is reported without a run was never planned."""
_LIVE = [status for status in NOT_FINISHED_STATUSES if status is not DagsterRunStatus.NOT_STARTED]
"""A run that Dagster could not submit stays NOT_STARTED for ever; one that it is about to submit is a new one."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a pass leaves to the next one, as the sensor's cursor."""

    newest: dict[str, str] = field(default_factory=dict)
    """Dimension → its key that was added last. What came after it is too new to judge."""
    entity: int = 0
    """How many entities, in the order in which they were added, were looked at in this round."""

    @classmethod
    def parse(cls, cursor: str | None) -> Self:
        """Read a cursor."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def encode(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass asks of Dagster."""

    marks: Marks
    delisted: dict[str, list[str]]
    summary: str


@dataclass(frozen=True, slots=True)
class Delisting:
    """One pass over the keys. ``datasets`` are the names of the assets, ``keep`` the versions that stay at least."""

    instance: DagsterInstance
    datasets: Sequence[str]
    keep: int

    def run(self, marks: Marks) -> Pass:
        """Decide which keys go. Takes seconds, whatever the number of keys."""
        versions, entities = (self.instance.get_dynamic_partitions(name) for name in (DATA_VERSIONS, ENTITIES))
        newest = {name: keys[-1] for name, keys in ((DATA_VERSIONS, versions), (ENTITIES, entities)) if keys}
        if self._is_backfilling():
            return Pass(Marks(newest, marks.entity), {}, "waits for the end of a backfill of Dagster's own")
        old = self._old_versions(_settled(versions, marks.newest.get(DATA_VERSIONS)))
        unused, entity = self._unused(
            [version for version in versions if version not in old],
            _settled(entities, marks.newest.get(ENTITIES)),
            marks.entity,
        )
        summary = f"{len(versions) - len(old)} versions stay, {len(old)} go; {len(unused)} unused entities go"
        return Pass(Marks(newest, entity), {DATA_VERSIONS: old, ENTITIES: unused}, summary)

    def _is_backfilling(self) -> bool:
        # Dagster's own backfills name their partitions once, when an operator asks for them.
        under_way = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]
        return bool(self.instance.get_backfills(filters=BulkActionsFilter(statuses=under_way), limit=1))

    def _old_versions(self, settled: Sequence[str]) -> list[str]:
        """Return versions beyond the ``keep`` of the newest activity, without a run that has not ended.

        What is not among the newest of a part is not among the newest of all: a part is enough.
        """
        part = settled[:VERSIONS_AT_ONCE]
        by_activity = sorted((self._newest_run(version), added, version) for added, version in enumerate(part))
        old = [version for _, _, version in by_activity[: -self.keep]]
        return [version for version in old if not self._has_live_run(version)]

    def _newest_run(self, version: str) -> int:
        """Return the number of the version's newest run, in the order in which runs are created; 0 without any."""
        found = self.instance.get_run_records(RunsFilter(tags={_VERSION_TAG: version}), limit=1)
        return found[0].storage_id if found else 0

    def _has_live_run(self, version: str) -> bool:
        live = RunsFilter(tags={_VERSION_TAG: version}, statuses=_LIVE)
        return bool(self.instance.get_run_ids(live, limit=1))

    def _unused(self, versions: Sequence[str], settled: Sequence[str], begin: int) -> tuple[list[str], int]:
        """Return entities without a trace at any of ``versions``, and where the next pass goes on."""
        unused: list[str] = []
        deadline = monotonic() + BUDGET_SECONDS
        if len(versions) > VERSIONS_AT_ONCE:
            return unused, begin  # the old versions go first
        at = begin if begin < len(settled) else 0
        size = max(1, PAIRS_AT_ONCE // max(1, len(versions)))
        while at < len(settled) and len(unused) < UNUSED_AT_ONCE and monotonic() < deadline:
            part = settled[at : at + size]
            used = self._used(versions, part)
            unused += [entity for entity in part if entity not in used]
            at += len(part)
        return unused, 0 if at >= len(settled) else at - len(unused)

    def _used(self, versions: Sequence[str], entities: Sequence[str]) -> set[str]:
        wanted = {str(partition_key(entity, version)): entity for entity in entities for version in versions}
        used: set[str] = set()
        for dataset in self.datasets:
            for trace in _TRACES:
                open_keys = {key for key, entity in wanted.items() if entity not in used}
                if open_keys:
                    found = self.instance.get_latest_storage_id_by_partition(AssetKey(dataset), trace, open_keys)
                    used |= {wanted[key] for key in found}
        return used


def _settled(keys: Sequence[str], newest: str | None) -> Sequence[str]:
    """Return the keys that the pass before has seen. The others may wait for their first run."""
    return keys[: keys.index(newest) + 1] if newest in keys else []


def delist_partitions_sensor(datasets: Sequence[str]) -> SensorDefinition:
    """Return the sensor ``delist_partitions`` over the assets of these names. It starts no run."""

    @sensor(
        name="delist_partitions",
        required_resource_keys={"settings"},
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Takes old data versions and unused entities out of the lists of partitions. No snapshot goes.",
    )
    def delist_partitions(context: SensorEvaluationContext) -> SensorResult:
        settings: ComputeSettings = context.resources.settings
        found = Delisting(context.instance, datasets, settings.live_versions).run(Marks.parse(context.cursor))
        return SensorResult(
            skip_reason=found.summary,
            cursor=found.marks.encode(),
            dynamic_partitions_requests=[
                DeleteDynamicPartitionsRequest(name, keys) for name, keys in found.delisted.items() if keys
            ],
        )

    return delist_partitions
