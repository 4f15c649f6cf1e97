"""The code location: every action as an asset with its job, and the sensor that launches them."""

from collections.abc import Mapping

from dagster import Definitions, in_process_executor

from assets.factory import build_asset
from assets.registry import Registry, registry
from orchestration.jobs import job_of
from resources.dagster_resources import RESOURCES
from sensors.process_requests import process_requests_sensor


def build(actions: Registry, resources: Mapping[str, object] = RESOURCES) -> Definitions:
    """Return the code location over ``actions``. Nothing is connected and no setting is read yet."""
    jobs = [job_of(action) for action in actions]
    return Definitions(
        assets=[build_asset(action) for action in actions],
        jobs=jobs,
        sensors=[process_requests_sensor(actions.digests(), jobs)],
        resources=resources,
        executor=in_process_executor,
    )


defs = build(registry())
