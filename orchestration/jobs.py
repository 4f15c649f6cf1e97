"""One job per action, named like it: what the sensor launches and operators start from the UI."""

from typing import TYPE_CHECKING

from dagster import AssetSelection, define_asset_job, in_process_executor

from assets.declaration import Action

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

MAX_RUN_SECONDS = 6 * 3600
"""Run monitoring ends a run after this time, whoever started it."""


def job_of(action: Action) -> "UnresolvedAssetJobDefinition":
    """Return the job that computes the action's dataset for one partition, in the run's own process."""
    return define_asset_job(
        name=action.name,
        selection=AssetSelection.assets(action.output),
        description=action.description,
        tags={"dagster/max_runtime": str(MAX_RUN_SECONDS)},
        executor_def=in_process_executor,
    )
