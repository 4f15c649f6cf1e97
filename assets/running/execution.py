"""From a Dagster run to the runner: for the members of a launch, or for the operator who started the run by hand."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from dagster import AssetCheckResult, AssetExecutionContext, DataVersion, Failure, MaterializeResult, MetadataValue

from assets.checks import identifiers
from assets.declaration import Action
from assets.errors import CheckFailedError
from assets.partitions import add_keys, coordinates
from assets.profiles import load_profiles
from assets.reading.sources import Sources
from assets.running.runner import run_member, run_operator
from assets.running.task import Published, Tools
from contracts.commit import CheckResult
from contracts.intake import LAUNCH_TAG
from resources.control_plane import AttemptSupersededError
from resources.lake.store import S3Lake
from resources.settings import ComputeSettings

Shown = MaterializeResult[None] | AssetCheckResult


def execute(action: Action, context: AssetExecutionContext) -> Iterator[Shown]:
    """Compute and yield what was published with its checks: nothing when no attempt is wanted any more.

    Raises every error that ended an attempt; the runner has reported it. Failed checks are yielded before.
    """
    if not context.selected_asset_keys:
        raise Failure("a check is measured while its dataset is computed; what was measured stands in the commit")
    try:
        yield from _computed(action, context)
    except CheckFailedError as error:
        yield from _shown(action, context, error.results)
        raise


def _computed(action: Action, context: AssetExecutionContext) -> Iterator[Shown]:
    settings: ComputeSettings = context.resources.settings
    tools = Tools(
        control=context.resources.control_plane,
        lake=context.resources.lake,
        sources=Sources(
            context.resources.landing,
            settings.landing_bucket,
            settings.register_sources,
            lambda bucket: S3Lake(settings, bucket),
        ),
        sessions=context.resources.spark,
        permit_seconds=settings.permit_seconds,
        landing_unpacked_bytes=settings.landing_unpacked_bytes,
    )
    entity, version = coordinates(context.partition_key)
    launch_id = context.run.tags.get(LAUNCH_TAG)
    if launch_id is None:
        profile = load_profiles()[action.profile]
        published = run_operator(action, entity, version, run_id=context.run.run_id, profile=profile, tools=tools)
        add_keys(context.instance, entity, version)
        yield _result(action, context, published)
        return
    for member in tools.control.members(UUID(launch_id)).members:
        try:
            published = run_member(member, run_id=context.run.run_id, action=action, tools=tools)
        except AttemptSupersededError as error:
            context.log.info("attempt %s of process %s stops: %s", member.attempt, member.process_id, error)
            continue
        # Dagster fails a run whose partition is not listed when it ends; it may have been delisted meanwhile.
        add_keys(context.instance, entity, version)
        yield _result(action, context, published)


def _result(action: Action, context: AssetExecutionContext, published: Published) -> MaterializeResult[None]:
    commit = published.commit
    return MaterializeResult(
        data_version=DataVersion(published.digest),
        check_results=list(_shown(action, context, commit.provenance.checks)),
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


def _shown(
    action: Action, context: AssetExecutionContext, results: Sequence[CheckResult]
) -> Iterator[AssetCheckResult]:
    """Yield the results that this run may show: an earlier attempt's code may have promised something else."""
    measured = {result.name: result for result in results}
    selected = {key.name for key in context.selected_asset_check_keys}
    for name, check in zip(identifiers(action.checks), action.checks, strict=True):
        if name in selected and (result := measured.get(str(check))):
            yield AssetCheckResult(
                passed=result.passed,
                asset_key=action.output,
                check_name=name,
                metadata={"measured": result.measured, "partition": context.partition_key},
            )
