"""The Kafka template: generated from the models, its examples valid, its schemas as strict as the models."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from pydantic import ValidationError

from api.routes.processes import EXAMPLE
from cli.schemas import TEMPLATE, rendered_template
from contracts.messages import ProcessRequest, ReleaseRecord

MODELS: dict[str, type[ProcessRequest]] = {"process-request": ProcessRequest, "release-record": ReleaseRecord}
WRITTEN_BY_HAND = {"README.md", "process-request.example.json"}


def read(name: str) -> Any:
    return json.loads((TEMPLATE / name).read_text())


def accepts(name: str, value: dict[str, Any]) -> tuple[bool, bool]:
    """Return the verdicts of the schema and of the model."""
    try:
        MODELS[name].model_validate_json(json.dumps(value))
    except ValidationError:
        is_valid = False
    else:
        is_valid = True
    return jsonschema_rs.Draft202012Validator(read(f"{name}.json")).is_valid(value), is_valid


def test_the_template_has_not_drifted() -> None:
    found = {path.name: path.read_text() for path in Path(TEMPLATE).iterdir() if path.name not in WRITTEN_BY_HAND}
    assert found == rendered_template(), "run 'make schemas' and commit what it writes"


@pytest.mark.parametrize("name", MODELS)
def test_yaml_and_json_are_one_schema(name: str) -> None:
    schema = read(f"{name}.json")
    jsonschema_rs.meta.validate(schema)
    assert yaml.safe_load((TEMPLATE / f"{name}.yaml").read_text()) == schema


@pytest.mark.parametrize("name", MODELS)
def test_the_example_is_valid(name: str) -> None:
    assert accepts(name, read(f"{name}.example.json")) == (True, True)


def test_the_example_is_the_one_of_the_api_and_survives_the_log() -> None:
    request = read("process-request.example.json")
    assert request == EXAMPLE
    record = ReleaseRecord.model_validate(read("release-record.example.json"))
    assert record.request() == ProcessRequest.model_validate(request)
    assert record.request_hash_ == record.request().request_hash()


WRONG: list[dict[str, Any]] = [
    {"entity_id": "../etc"},
    {"entity_id": "a..b"},
    {"entity_id": "trailing."},
    {"entity_id": "x" * 129},
    {"entity_id": 8842},
    {"data_version": ""},
    {"action": "Aggregate"},
    {"priority": 11},
    {"priority": True},
    {"deadline_seconds": 59},
    {"resource_profile": {"driver_cores": 0}},
    {"resource_profile": {"executor_memory": "16 GB"}},
    {"resource_profile": {"image": "evil"}},
    {"inputs": {"orders": {"entity_id": "a"}}},
    {"callback_url": "https://x.example/" + "y" * 2048},
    {"surprise": 1},
]


@pytest.mark.parametrize("change", WRONG, ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("name", MODELS)
def test_the_schema_refuses_what_the_model_refuses(name: str, change: dict[str, Any]) -> None:
    assert accepts(name, read(f"{name}.example.json") | change) == (False, False)


@pytest.mark.parametrize(
    "change", [{"contract_version": 2}, {"process_id": "7"}, {"attempt": 0}, {"request_hash": "ab"}, {"tenant": "A"}]
)
def test_the_envelope_is_checked_too(change: dict[str, Any]) -> None:
    schema, model = accepts("release-record", read("release-record.example.json") | change)
    assert model is False
    # 'format' is a note in this dialect, so the schema alone does not judge a UUID.
    assert schema is ("process_id" in change)
