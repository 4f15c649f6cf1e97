"""From a Dagster run to the runner: for the members of a launch, or for the operator who started the run by hand."""

from collections.abc import Iterator
from uuid import UUID

from dagster import AssetExecutionContext, DataVersion, MaterializeResult, MetadataValue

from assets.declaration import Action
from assets.partitions import LAUNCH_TAG, coordinates
from assets.profiles import load_profiles
from assets.runner import run_member, run_operator
from assets.task import Published, Tools
from resources.control_plane import AttemptSupersededError
from resources.settings import ComputeSettings


def execute(action: Action, context: AssetExecutionContext) -> Iterator[MaterializeResult[None]]:
    """Compute and yield what was published: nothing when no attempt is wanted any more.

    Raises every error that ended an attempt; the runner has reported it.
    """
    settings: ComputeSettings = context.resources.settings
    tools = Tools(
        control=context.resources.control_plane,
        lake=context.resources.lake,
        landing=context.resources.landing,
        sessions=context.resources.spark,
        permit_seconds=settings.permit_seconds,
    )
    launch_id = context.run.tags.get(LAUNCH_TAG)
    if launch_id is None:
        profile = load_profiles()[action.profile]
        entity, version = coordinates(context.partition_key)
        yield _result(run_operator(action, entity, version, run_id=context.run.run_id, profile=profile, tools=tools))
        return
    for member in tools.control.members(UUID(launch_id)).members:
        try:
            yield _result(run_member(member, run_id=context.run.run_id, action=action, tools=tools))
        except AttemptSupersededError as error:
            context.log.info("attempt %s of process %s stops: %s", member.attempt, member.process_id, error)


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
