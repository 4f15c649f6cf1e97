"""One partitioned Dagster asset per action: what its output is made of shows as lineage, its runs as partitions."""

from collections.abc import Iterator, Mapping

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    multi_asset,
)

from assets.checks import identifiers
from assets.declaration import Action
from assets.partitions import PARTITIONS

RESOURCES = {"settings", "control_plane", "lake", "landing", "spark"}


def build_asset(action: Action) -> AssetsDefinition:
    """Return the asset named after the action's output dataset. Running it needs ``RESOURCES``."""
    facts: Mapping[str, object] = {
        "action": action.name,
        "schema": str(action.schema),
        "checks": [str(check) for check in action.checks],
        "sort_by": list(action.sort_by),
        "profile": action.profile,
    }
    spec = AssetSpec(
        key=action.output,
        deps=sorted(set(action.snapshot_inputs.values())),
        partitions_def=PARTITIONS,
        group_name="landed" if action.landing_inputs else "derived",
        description=action.description,
        metadata=facts,
        code_version=action.digest,
        kinds={"spark", "parquet"},
        skippable=True,  # a launch that is no longer wanted computes nothing
    )

    promises = zip(identifiers(action.checks), action.checks, strict=True)
    checks = [AssetCheckSpec(name, asset=action.output, description=str(check)) for name, check in promises]

    # Dagster wants the names of ops and jobs apart; jobs are named like actions, which have no capitals.
    # Only what may be computed in part may also yield nothing: a launch that is no longer wanted checks nothing.
    @multi_asset(
        name=f"Compute_{action.name}",
        specs=[spec],
        check_specs=checks,
        can_subset=bool(checks),
        required_resource_keys=RESOURCES,
    )
    def compute(context: AssetExecutionContext) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
        from assets.running.execution import execute  # noqa: PLC0415 - the code location loads without boto3, httpx, pyarrow

        yield from execute(action, context)

    return compute
