"""One job per action, named like it: what the sensor launches and operators start from the UI."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dagster import AssetSelection, define_asset_job, in_process_executor

from assets.declaration import Action
from contracts.reports import MAX_RUN_SECONDS

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def job_of(action: Action, size: Mapping[str, str]) -> "UnresolvedAssetJobDefinition":
    """Return the job that computes the action's dataset for one partition, in the run's own process.

    ``size`` are the tags that size a run which an operator starts; a launch brings its own.
    """
    return define_asset_job(
        name=action.name,
        selection=AssetSelection.assets(action.output),
        description=action.description,
        tags={"dagster/max_runtime": str(MAX_RUN_SECONDS), **size},
        executor_def=in_process_executor,
    )
