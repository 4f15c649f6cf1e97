"""The size and the image of a run, as they arrive at it: by its job when an operator starts it, else by its launch."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from dagster import DagsterInstance, Definitions, build_sensor_context
from dagster._core.definitions.partitions.context import partition_loading_context
from pydantic import SecretStr

from assets.partitions import DATA_VERSIONS, ENTITIES
from assets.profiles import load_profiles
from assets.registry import Registry, registry
from contracts.messages import Profile
from orchestration.definitions import build
from orchestration.k8s import CONFIG_TAG, driver_size
from orchestration.spark import spark
from resources.dagster.resources import RESOURCES
from resources.settings import ComputeSettings
from tests.fake_intake import FakeControlPlane, launch_value
from tests.memory_log import MemoryLog

PLAIN = registry()["ingest_flights"]
CHOSEN = replace(registry()["daily_delays"], image="geo", profile="large")
ACTIONS = Registry({action.name: action for action in (PLAIN, CHOSEN)})
IMAGES = {"geo": "registry/geo:1", "other": "registry/other:1"}


@pytest.fixture
def location() -> Definitions:
    """A code location over two actions, each with a launch in the log."""
    log = MemoryLog()
    for action in ACTIONS:
        log.write(b"k", launch_value(uuid4(), action.name))
    fakes = {
        "settings": ComputeSettings(internal_secret=SecretStr("internal-secret-of-the-tests")),
        "record_log": log,
        "intake": FakeControlPlane(),
    }
    return build(ACTIONS, {**RESOURCES, "spark": spark, **fakes}, load_profiles(), IMAGES)


def container(tags: Mapping[str, str]) -> Any:
    return json.loads(tags[CONFIG_TAG])["container_config"]


def test_an_operators_run_has_its_actions_profile_and_image(location: Definitions) -> None:
    found = {job.name: container(job.tags) for job in location.resolve_all_job_defs() if job.name in ACTIONS.digests()}
    assert "image" not in found[PLAIN.name]
    assert found[CHOSEN.name]["image"] == "registry/geo:1"
    assert found[CHOSEN.name]["resources"] == driver_size(load_profiles()["large"]).requirements()


def test_a_launched_run_has_its_actions_image_and_the_granted_profile(location: Definitions) -> None:
    (sensor,) = (each for each in location.sensors or () if each.name == "process_requests")
    resources = {name: (location.resources or {})[name] for name in sensor.required_resource_keys}
    with (
        DagsterInstance.ephemeral() as instance,
        partition_loading_context(dynamic_partitions_store=instance),
        build_sensor_context(instance, repository_def=location.get_repository_def(), resources=resources) as context,
    ):
        instance.add_dynamic_partitions(DATA_VERSIONS, ["v1"])
        instance.add_dynamic_partitions(ENTITIES, ["cust_1"])
        requests = sensor.evaluate_tick(context).run_requests or []
    found = {request.job_name: container(request.tags) for request in requests}
    assert found == {
        PLAIN.name: {"resources": driver_size(Profile()).requirements()},
        CHOSEN.name: {"resources": driver_size(Profile()).requirements(), "image": "registry/geo:1"},
    }
