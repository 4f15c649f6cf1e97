"""The documentation tells the whole API: its paths, and for every body and refusal a schema."""

import json
import re
from typing import Any

import httpx
import pytest

from api.app import create_app
from contracts.messages import ProcessRequest

PATHS = {
    "/healthz": {"get"},
    "/internal/v1/actions": {"put"},
    "/internal/v1/intake": {"post"},
    "/internal/v1/launches/{launch_id}": {"get"},
    "/metrics": {"get"},
    "/readyz": {"get"},
    "/v1/actions": {"get"},
    "/v1/backfills": {"get", "post"},
    "/v1/backfills/{backfill_id}": {"get"},
    "/v1/backfills/{backfill_id}:cancel": {"post"},
    "/v1/backfills/{backfill_id}:pause": {"post"},
    "/v1/backfills/{backfill_id}:resume": {"post"},
    "/v1/processes": {"get", "post"},
    "/v1/processes/callback": {"post"},
    "/v1/processes:batch": {"post"},
    "/v1/processes/{process_id}": {"get"},
    "/v1/snapshots": {"get", "post"},
    "/v1/snapshots/{entity_id}/{data_version}/{dataset}": {"get"},
    "/v1/processes/{process_id}/callbacks": {"get"},
    "/v1/processes/{process_id}/callbacks:redeliver": {"post"},
    "/v1/processes/{process_id}:cancel": {"post"},
    "/v1/processes/{process_id}:retry": {"post"},
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def test_the_paths_are_exactly_these(document: dict[str, Any]) -> None:
    assert {path: set(operations) for path, operations in document["paths"].items()} == PATHS


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    asked = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert asked <= names
    assert "HTTPValidationError" not in names


def test_a_submit_is_documented_with_an_example_that_works(document: dict[str, Any]) -> None:
    submit = document["paths"]["/v1/processes"]["post"]
    body = submit["requestBody"]["content"]["application/json"]
    assert ProcessRequest.model_validate(body["example"]).action == "aggregate_revenue"
    assert body["schema"] == {"$ref": "#/components/schemas/ProcessRequest"}
    assert {"200", "202", "400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503"} == set(
        submit["responses"]
    )
    for status, response in submit["responses"].items():
        if status not in {"200", "202"}:
            assert set(response["content"]) == {"application/problem+json"}
    assert {parameter["name"] for parameter in submit["parameters"]} == {"Idempotency-Key", "dry_run", "on_conflict"}
    assert submit["security"]


@pytest.mark.anyio
async def test_its_page_needs_nothing_from_elsewhere() -> None:
    """A network without a way out shows it too, and nobody else's script runs on it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://lakemill") as client:
        page = (await client.get("/docs")).text
        needed = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page)
        places = [given or asked for given, asked in needed]
        assert len(places) == 4
        for place in places:
            assert place.startswith("/")
            answer = await client.get(place)
            assert (answer.status_code, len(answer.content) > 0) == (200, True)
