"""The code location: every action as an asset with its job, the sensor that launches them, and the schedules."""

from collections.abc import Mapping, Sequence

from dagster import Definitions, in_process_executor

from assets.factory import build_asset
from assets.profiles import load_images, load_profiles
from assets.registry import Registry, registry
from contracts.intake import Launch
from contracts.messages import Profile
from orchestration.jobs import job_of
from orchestration.k8s import run_tags
from orchestration.schedule_file import Schedule, load_schedules
from orchestration.schedules import schedule_of
from orchestration.spark import spark
from resources.dagster.resources import RESOURCES
from sensors.delist_partitions import delist_partitions_sensor
from sensors.process_requests import process_requests_sensor


def build(
    actions: Registry,
    resources: Mapping[str, object],
    profiles: Mapping[str, Profile],
    images: Mapping[str, str],
    schedules: Sequence[Schedule] = (),
) -> Definitions:
    """Return the code location over ``actions``. Nothing is connected and no setting is read yet."""
    image_of = {action.name: images.get(action.image or "") for action in actions}
    jobs = {
        action.name: job_of(action, run_tags(profiles[action.profile], image_of[action.name])) for action in actions
    }

    def size(launch: Launch) -> dict[str, str]:
        return run_tags(launch.profile, image_of[launch.action])

    return Definitions(
        assets=[build_asset(action) for action in actions],
        jobs=list(jobs.values()),
        schedules=[schedule_of(entry, jobs[entry.action]) for entry in schedules],
        sensors=[
            process_requests_sensor(actions.digests(), list(jobs.values()), size),
            delist_partitions_sensor([action.output for action in actions]),
        ],
        resources=resources,
        executor=in_process_executor,
    )


_actions = registry()
defs = build(
    _actions,
    {**RESOURCES, "spark": spark},
    load_profiles(),
    load_images(),
    load_schedules(_actions.digests()),
)
