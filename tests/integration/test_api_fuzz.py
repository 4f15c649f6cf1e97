"""The documentation as a promise: whatever fits it, or nearly fits it, is answered as it says, and never with a 5xx."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from contracts.reports import ACTIONS_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.strict_json import canonical
from contracts.tenancy import DEFAULT_TENANT, Scope
from control import keys
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import CATALOGUE, MemoryLake
from tests.integration.postgres import free_port

_START_SECONDS = 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


async def _key(url: SecretStr) -> str:
    db = Database(url, pool_size=1)
    async with db.transaction() as conn:
        key = await keys.create(conn, DEFAULT_TENANT, list(Scope))
    await db.close()
    return key.get_secret_value()


@pytest.fixture
def server(database_url: SecretStr, request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str]]]:
    """A real server in a thread: its address, and the headers of a caller who may do everything."""
    control: ControlSettings = request.getfixturevalue("settings")
    port = free_port()
    app = create_app(settings=control, db=Database(database_url), lake=MemoryLake())
    serving = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=serving.run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _START_SECONDS
    while not serving.started and time.monotonic() < deadline:
        thread.join(0.02)
    body = canonical(CATALOGUE)
    header = {SIGNATURE_HEADER: sign(INTERNAL_SECRET, "PUT", ACTIONS_PATH, body)}
    assert httpx.put(f"{url}{ACTIONS_PATH}", content=body, headers=header).status_code == 204
    yield url, {"Authorization": f"Bearer {asyncio.run(_key(database_url))}"}
    serving.should_exit = True
    thread.join()


OPERATIONS = [
    ("/v1/processes", "POST"),
    ("/v1/processes", "GET"),
    ("/v1/processes/{process_id}", "GET"),
    ("/v1/processes/callback", "POST"),
    ("/internal/v1/intake", "POST"),
    ("/internal/v1/launches/{launch_id}", "GET"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
]


def test_every_answer_is_as_documented(server: tuple[str, dict[str, str]]) -> None:
    url, headers = server
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    for path, method in OPERATIONS:
        for mode in modes:
            try:
                cases = schema[path][method].as_strategy(generation_mode=mode)
                _try(cases, headers)
            except Unsatisfiable:
                continue  # nothing about this operation can be wrong


def _try(cases: "SearchStrategy[schemathesis.Case[Any]]", headers: dict[str, str]) -> None:
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def one(case: "schemathesis.Case[Any]") -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    one()
