"""A code location with the real sensor, the real partitions and one job, whose runs compute nothing (stub_runs.py)."""

from collections.abc import Iterator
from functools import cache
from uuid import UUID

from dagster import (
    AssetExecutionContext,
    AssetSpec,
    DataVersion,
    Definitions,
    MaterializeResult,
    ResourceDefinition,
    in_process_executor,
    multi_asset,
)

from assets.partitions import PARTITIONS
from assets.registry import registry
from bench.stub_runs import ACTION, StubRuns
from contracts.intake import LAUNCH_TAG
from orchestration.jobs import job_of
from orchestration.k8s import run_tags
from resources.control_plane import HttpControlPlane
from resources.dagster.resources import RESOURCES
from resources.lake.store import S3Lake
from resources.settings import compute_settings
from sensors.process_requests import process_requests_sensor

_action = registry()[ACTION]


@multi_asset(
    name=f"Compute_{ACTION}",
    specs=[AssetSpec(_action.output, partitions_def=PARTITIONS, code_version=_action.digest, skippable=True)],
    required_resource_keys={"settings", "control_plane", "lake"},
)
def compute(context: AssetExecutionContext) -> Iterator[MaterializeResult[None]]:
    """Publish nothing, as the real asset would publish something."""
    given = context.resources
    runs = StubRuns(given.control_plane, given.lake, given.settings.permit_seconds)
    for published in runs.run(UUID(context.run.tags[LAUNCH_TAG]), context.run.run_id):
        yield MaterializeResult(
            data_version=DataVersion(published.digest),
            metadata={"rows": published.commit.rows, "path": published.url, "commit_digest": published.digest},
        )


@cache
def _control_plane() -> HttpControlPlane:
    return HttpControlPlane(compute_settings())


@cache
def _lake() -> S3Lake:
    settings = compute_settings()
    return S3Lake(settings, settings.lake_bucket)


# A run's own process makes its clients as it starts. Here each would take longer than all else that a run does.
_KEPT = {
    "control_plane": ResourceDefinition(lambda _: _control_plane()),
    "lake": ResourceDefinition(lambda _: _lake()),
}

_jobs = [job_of(_action, {})]
_sensor = process_requests_sensor(
    {ACTION: registry().digests()[ACTION]}, _jobs, lambda launch: run_tags(launch.profile, None)
)
defs = Definitions(
    assets=[compute], jobs=_jobs, sensors=[_sensor], resources={**RESOURCES, **_KEPT}, executor=in_process_executor
)
