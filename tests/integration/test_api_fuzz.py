"""The documentation as a promise: whatever fits it, or nearly fits it, is answered as it says, and never with a 5xx."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contracts.intake import INTAKE_PATH
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.belongings import BACKFILL, DATASET, DELIVERED, REGISTERING, Belongings, one_of_each
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.live_api import live_api
from tests.integration.memory_lake import MemoryLake
from tests.integration.tenant import Caller

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 15
SKIPPED = {"/metrics"}  # Prometheus's text format, which has no schema
SIGNED = (REPORT_PATH, INTAKE_PATH, LAUNCH_PATH, ACTIONS_PATH)
OPTIONS = {"dry_run": "true", "on_conflict": "use_existing"}

Case = schemathesis.Case
Operation = Any
"""Schemathesis's APIOperation."""


@dataclass(frozen=True, slots=True)
class Server:
    """The live API, what its caller has, and how a call shows who it is from."""

    schema: Any
    has: Belongings
    credentials: Callable[[Any], Any]

    def operations(self) -> list[Operation]:
        """Every call that is documented, but those in ``SKIPPED``."""
        found = [each.ok() for each in self.schema.get_all_operations()]
        return [each for each in found if each.path not in SKIPPED]

    def ask(self, case: "Case[Any]") -> int:
        """Make a call and check its answer; returns the status."""
        return int(case.call_and_validate(checks=CHECKS, auth=self.credentials).status_code)


def credentials(settings: ControlSettings, key: str) -> Callable[[Any], Any]:
    """Return what adds a valid signature to a prepared request of the compute plane, and the key to any other."""

    def add(request: Any) -> Any:
        path, body = unquote(urlsplit(request.url).path), request.body or b""
        if path.startswith(SIGNED):
            content = body if isinstance(body, bytes) else str(body).encode()
            secret = settings.internal_secret.get_secret_value()
            request.headers[SIGNATURE_HEADER] = sign(secret, request.method, path, content)
        else:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    return add


@pytest.fixture
def server(settings: ControlSettings) -> Iterator[Server]:
    """A real server, whose caller may do everything and has one of everything."""
    lake = MemoryLake()
    with live_api(settings, lake) as (url, key):

        async def fill() -> Belongings:
            db = Database(settings.database_url, pool_size=4)
            async with httpx.AsyncClient(base_url=url) as http:
                plane = ControlPlane(http, db, lake, settings, key)
                has = await one_of_each(Caller(plane, DEFAULT_TENANT, key), "acme-1", "a note", "hook")
            await db.close()
            return has

        has = asyncio.run(fill())
        yield Server(schemathesis.openapi.from_url(f"{url}/openapi.json"), has, credentials(settings, key))


def bodies(has: Belongings) -> dict[str, list[dict[str, Any]]]:
    """Return bodies that are answered with success, by path."""
    submit: dict[str, Any] = {**SUBMIT, "entity_id": "acme-2"}
    existing: dict[str, Any] = {
        **SUBMIT,
        "entity_id": has.entity_id,
        "data_version": State.SUCCEEDED.value,
        "params": {"note": "a note"},
    }
    report = {"event": "succeeded", "at": "2026-01-01T00:00:00Z", "run_id": "run-1", "attempt": 1}
    return {
        "/v1/processes": [submit, existing],
        "/v1/processes:batch": [{"processes": [{**submit, "data_version": "v2"}, existing, {}]}],
        "/v1/backfills": [{**BACKFILL, "select": {"entities": ["acme-1", "acme-2"]}}],
        REPORT_PATH: [{**report, "process_id": str(has.processes[State.SUCCEEDED])}],
        INTAKE_PATH: [{"persisted": {"topics": {}}, "actions": {}, "records": []}],
        "/v1/snapshots": [{"entity_id": "acme-2", "data_version": "v1", "dataset": DELIVERED}],
        ACTIONS_PATH: [REGISTERING],
    }


def known(operation: Operation, has: Belongings) -> "Iterator[Case[Any]]":
    """Return the calls that name what the caller has, each with every option that takes a word."""
    ids = {
        "process_id": [str(process_id) for process_id in has.processes.values()],
        "backfill_id": [str(has.backfill_id)],
        "launch_id": [str(has.launch_id)],
        "entity_id": [has.entity_id],
        "data_version": [State.SUCCEEDED.value],
        "dataset": [DATASET],
    }
    names = [parameter.name for parameter in operation.path_parameters]
    offered = {parameter.name for parameter in operation.query}
    queries: list[dict[str, str]] = [{}, *({name: word} for name, word in OPTIONS.items() if name in offered)]
    parts: list[dict[str, Any]] = [
        {"body": body, "media_type": "application/json"} for body in bodies(has).get(operation.path, [])
    ]
    for values in product(*(ids[name] for name in names)):
        for query, part in product(queries, parts if operation.body else [{}]):
            yield operation.Case(path_parameters=dict(zip(names, values, strict=True)), query=query, **part)


def test_what_is_there_is_answered_as_documented(server: Server) -> None:
    asked: dict[str, list[int]] = {
        f"{operation.method.upper()} {operation.path}": [server.ask(case) for case in known(operation, server.has)]
        for operation in server.operations()
    }
    # Else the shape of the success is never looked at: `bodies` or `known` lacks what this call needs.
    assert [name for name, statuses in asked.items() if not any(status < 300 for status in statuses)] == []


def test_every_answer_is_as_documented(server: Server) -> None:
    # A catalogue of actions that was made up replaces ours: last.
    for operation in sorted(server.operations(), key=lambda each: each.path.startswith(SIGNED)):
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            try:
                _try(operation.as_strategy(generation_mode=mode), server)
            except Unsatisfiable:
                continue  # nothing about this operation can be wrong


def _try(cases: "SearchStrategy[Case[Any]]", server: Server) -> None:
    @hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def one(case: "Case[Any]") -> None:
        server.ask(case)

    one()
