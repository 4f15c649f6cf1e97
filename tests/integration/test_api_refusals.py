"""Bad requests (the table of refusals in docs/architecture.md): each is one problem document, and leaves no trace."""

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from control.tables import processes
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.control_plane import CATALOGUE, SUBMIT, ControlPlane
from tests.integration.memory_lake import MemoryLake
from tests.integration.problems import is_problem

pytestmark = pytest.mark.anyio
BAD_FIELDS: list[dict[str, Any]] = [
    {"tenant_id": "x"},
    {"is_admin": True},
    {"image": "evil"},
    {"request_hash": "a" * 64},
    {"entity_id": 7},
    {"entity_id": True},
    {"entity_id": ""},
    {"entity_id": "../x"},
    {"entity_id": "a\x00b"},
    {"entity_id": "a|b"},
    {"entity_id": "a" * 129},
    {"entity_id": "${jndi:x}"},
    {"entity_id": "_SUCCESS"},
    {"data_version": "a/b"},
    {"data_version": "v1."},
    {"data_version": "\uff0e\uff0e"},
    {"action": "Ingest"},
    {"priority": 11},
    {"priority": "1"},
    {"priority": 1.5},
    {"deadline_seconds": 59},
    {"resource_profile": "enormous"},
    {"resource_profile": {"driver_cores": -1}},
    {"resource_profile": {"executor_memory": "16Gi"}},
    {"resource_profile": {"nodeSelector": {}}},
    {"params": []},
    {"params": {"a": "\x00"}},
    {"inputs": {"raw": {"entity_id": "a", "data_version": "v1"}}},
    {"inputs": {"../x": {"entity_id": "a", "data_version": "v1"}}},
    {"callback_url": "https://example.com/a b"},
    {"callback_url": "https://example.com/\r\nX: y"},
    {"callback_url": "https://example.com\\@evil.test/"},
    {"callback_url": "https://example.com/" + "a" * 2048},
    {"action_digest": "short"},
]


async def test_a_broken_rule_is_named_and_its_value_is_not(plane: ControlPlane) -> None:
    for changes in BAD_FIELDS:
        document = is_problem(await plane.submit(**changes), 422, "validation_failed")
        (field,) = changes
        assert any(error["field"].startswith(field) for error in document["errors"]), document
        assert len(json.dumps(document)) < 2000
    assert await plane.rows(processes) == []


BAD_PARAMS: list[dict[str, Any]] = [
    {},
    {"day": 7},
    {"day": "d", "top": "3"},
    {"day": "d", "top": True},
    {"day": "d", "top": 1.5},
    {"day": "d", "x": 1},
]


async def test_parameters_are_checked_at_the_door(plane: ControlPlane) -> None:
    for params in BAD_PARAMS:
        document = is_problem(await plane.submit(action="refine", params=params), 422, "validation_failed")
        assert document["errors"][0]["field"].startswith("params.")


BAD_URLS = [
    "http://example.com/",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://[::1]/",
    "https://localhost./",
    "https://169.254.169.254/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[fd00:ec2::254]/",
    "https://100.100.100.200/",
    "https://metadata.google.internal/",
    "https://10.0.0.1/",
    "https://192.168.1.1/",
    "https://172.16.0.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://[2002::1]/",
    "https://db.default.svc/",
    "https://db.default.svc.cluster.local/",
    "https://ok@169.254.169.254/",
    "https://example.com/#x",
    "https://example.com:22/",
]


async def test_a_callback_may_only_go_to_public_https(plane: ControlPlane) -> None:
    for url in BAD_URLS:
        is_problem(await plane.submit(callback_url=url), 422, "callback_forbidden")


async def test_an_unusable_idempotency_key_is_refused(plane: ControlPlane) -> None:
    for keys_sent in ([""], ["a b"], ["x" * 256], ["\x7f"], ["a", "b"], ["\u00e9"]):
        sent = [*plane.auth().items(), *(("Idempotency-Key", key) for key in keys_sent)]
        headers = [(name.encode(), value.encode("latin-1")) for name, value in sent]
        answer = await plane.http.post("/v1/processes", json=SUBMIT, headers=headers)
        is_problem(answer, 400, "invalid_idempotency_key")


async def test_an_option_of_submit_that_is_not_offered_is_refused(plane: ControlPlane) -> None:
    answer = await plane.http.post("/v1/processes?async=true", json=SUBMIT, headers=plane.auth())
    is_problem(answer, 422, "validation_failed")
    assert await plane.rows(processes) == []


async def test_unknown_addresses_and_methods(plane: ControlPlane) -> None:
    is_problem(await plane.http.get("/v2/processes"), 404, "not_found")
    answer = await plane.http.delete("/v1/processes")
    is_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST"}


async def test_a_contradictory_catalogue_is_refused_whole(plane: ControlPlane) -> None:
    action = CATALOGUE["actions"][0]
    for actions in ([action, action], [action, {**action, "name": "other"}], [{**action, "profile": "huge"}]):
        answer = await plane.publish({**CATALOGUE, "actions": actions})
        is_problem(answer, 422, "validation_failed")
    assert (await plane.submit()).status_code == 202


async def test_a_database_that_is_away_is_said_so(settings: ControlSettings) -> None:
    away = Database(SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    app = create_app(settings=settings, db=away, lake=MemoryLake())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        assert (await http.get("/healthz")).status_code == 200
        for answer in (await http.get("/readyz"), await http.post("/v1/processes", json=SUBMIT)):
            is_problem(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"]
    await away.close()
