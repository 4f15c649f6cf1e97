"""One partitioned Dagster asset per action: what its output is made of shows as lineage, its runs as partitions."""

from collections.abc import Iterator
from uuid import UUID

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    DataVersion,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)

from assets.declaration import Action
from assets.partitions import LAUNCH_TAG, PARTITIONS, coordinates
from assets.profiles import load_profiles
from assets.runner import run_member, run_operator
from assets.task import Published, Sessions, Tools
from resources.control_plane import AttemptSupersededError, ControlPlane
from resources.lake import Lake
from resources.settings import ComputeSettings


def build_asset(action: Action) -> AssetsDefinition:
    """Return the asset named after the action's output dataset. It needs the resources of orchestration/definitions."""

    @asset(
        key=AssetKey(action.output),
        deps=[AssetKey(dataset) for dataset in sorted(set(action.snapshot_inputs.values()))],
        partitions_def=PARTITIONS,
        group_name="landed" if action.landing_inputs else "derived",
        description=action.description,
        metadata={
            "action": action.name,
            "schema": str(action.schema),
            "checks": [str(check) for check in action.checks],
            "profile": action.profile,
        },
        code_version=action.digest,
        kinds={"spark", "parquet"},
        output_required=False,  # a launch that is no longer wanted computes nothing
    )
    def compute(
        context: AssetExecutionContext,
        control_plane: ResourceParam[ControlPlane],
        lake: ResourceParam[Lake],
        landing: ResourceParam[Lake],
        spark: ResourceParam[Sessions],
        settings: ResourceParam[ComputeSettings],
    ) -> Iterator[MaterializeResult[None]]:
        tools = Tools(control_plane, lake, landing, spark, settings.permit_seconds)
        launch_id = context.run.tags.get(LAUNCH_TAG)
        if launch_id is None:
            profile = load_profiles(settings.profiles_file)[action.profile]
            entity, version = coordinates(context.partition_key)
            yield _result(run_operator(action, entity, version, run_id=context.run_id, profile=profile, tools=tools))
            return
        for member in control_plane.members(UUID(launch_id)).members:
            try:
                yield _result(run_member(member, run_id=context.run_id, action=action, tools=tools))
            except AttemptSupersededError as error:
                context.log.info("attempt %s of process %s stops: %s", member.attempt, member.process_id, error)

    return compute


def _result(published: Published) -> MaterializeResult[None]:
    commit = published.commit
    return MaterializeResult(
        data_version=DataVersion(published.digest),
        metadata={
            "rows": commit.rows,
            "bytes": commit.size_bytes,
            "files": len(commit.files),
            "path": MetadataValue.path(published.url),
            "commit_digest": published.digest,
            "token": commit.provenance.token,
            "stages": {stage: at.isoformat() for stage, at in published.stages.items()},
        },
    )
