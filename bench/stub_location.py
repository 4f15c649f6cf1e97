"""A code location with the real sensor, the real partitions and one job, whose runs compute nothing (stub_runs.py)."""

from collections.abc import Iterator
from uuid import UUID

from dagster import (
    AssetExecutionContext,
    AssetSpec,
    DataVersion,
    Definitions,
    MaterializeResult,
    in_process_executor,
    multi_asset,
)

from assets.partitions import LAUNCH_TAG, PARTITIONS
from assets.registry import registry
from bench.stub_runs import ACTION, StubRuns
from orchestration.jobs import job_of
from orchestration.k8s import run_tags
from resources.dagster.resources import RESOURCES
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


_jobs = [job_of(_action, {})]
_sensor = process_requests_sensor(
    {ACTION: registry().digests()[ACTION]}, _jobs, lambda launch: run_tags(launch.profile, None)
)
defs = Definitions(assets=[compute], jobs=_jobs, sensors=[_sensor], resources=RESOURCES, executor=in_process_executor)
