"""The template endpoint, run for real: its own table on a real PostgreSQL, its rules those of the contract."""

import asyncio
import importlib.util
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook

from contracts.messages import ProcessRequest
from tests.test_architecture import ROOT, imports_of

pytestmark = pytest.mark.anyio
FILE = ROOT / "deploy" / "templates" / "fastapi-endpoint" / "endpoint.py"
EXAMPLE = json.loads((ROOT / "deploy/templates/kafka/process-request.example.json").read_text())
TOKEN, SECRET = "token-of-the-tests", "whsec_c2VjcmV0LW9mLXRoZS10ZW1wbGF0ZS10ZXN0cw=="
OTHER_SECRET = "whsec_YW5vdGhlci1zZWNyZXQtYW5vdGhlci1zZWNyZXQ="
SUBMIT, CALLBACK = "/v1/processes", "/v1/processes/callback"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("template_endpoint", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


endpoint = load(FILE)


@pytest.fixture
async def http(empty_database_url: SecretStr) -> AsyncIterator[httpx.AsyncClient]:
    app = endpoint.create_app(empty_database_url.get_secret_value(), TOKEN, SECRET)
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://template", headers=headers) as client,
    ):
        yield client


async def report(
    http: httpx.AsyncClient,
    process_id: str,
    state: str,
    secret: str = SECRET,
    age: timedelta = timedelta(0),
    **more: Any,
) -> httpx.Response:
    """Send what a worker sends when a process has ended."""
    body = json.dumps({"type": f"process.{state}", "data": {"process_id": process_id, "state": state, **more}})
    message_id, at = str(uuid4()), datetime.now(UTC) - age
    signed = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
    return await http.post(CALLBACK, content=body, headers={"Authorization": "", **signed})


async def accepted(http: httpx.AsyncClient, **changes: Any) -> str:
    answer = await http.post(SUBMIT, json=EXAMPLE | changes)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["process_id"])


def test_it_stands_alone_and_is_small() -> None:
    allowed = re.compile(r"^(fastapi|sqlalchemy|pydantic|standardwebhooks)(\.|$)")
    standard = {"collections.abc", "contextlib", "enum", "hashlib", "hmac", "json", "typing", "uuid"}
    assert {name for name in imports_of(FILE) if not allowed.match(name)} <= standard
    assert len([line for line in FILE.read_text().splitlines() if line.strip()]) <= 150


async def test_from_submit_to_report(http: httpx.AsyncClient) -> None:
    answer = await http.post(SUBMIT, json=EXAMPLE)
    assert answer.status_code == 202
    process = answer.json()
    assert answer.headers["location"] == process["links"]["self"]
    assert process["state"] == "accepted"
    artifact = {"path": "s3://lake/cust_8842/v2024.10.05/revenue"}
    assert (await report(http, process["process_id"], "succeeded", artifact=artifact)).status_code == 204
    shown = (await http.get(answer.headers["location"])).json()
    assert (shown["state"], shown["outcome"]["artifact"]) == ("succeeded", artifact)
    assert shown["ended_at"] is not None


async def test_one_idempotency_key_is_one_process_under_a_race(http: httpx.AsyncClient) -> None:
    posts = [http.post(SUBMIT, json=EXAMPLE, headers={"Idempotency-Key": "k-1"}) for _ in range(16)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    await report(http, answers[0].json()["process_id"], "failed")
    again = await http.post(SUBMIT, json=EXAMPLE, headers={"Idempotency-Key": "k-1"})
    assert again.text == answers[0].text
    other = await http.post(SUBMIT, json=EXAMPLE | {"priority": 1}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_coordinate_is_taken_while_active_and_for_ever_once_published(http: httpx.AsyncClient) -> None:
    first = await accepted(http)
    active = await http.post(SUBMIT, json=EXAMPLE)
    assert (active.status_code, active.json()["code"], active.json()["process_id"]) == (409, "process_active", first)
    assert active.headers["content-type"] == "application/problem+json"
    await report(http, first, "failed")
    second = await accepted(http)
    await report(http, second, "succeeded")
    published = await http.post(SUBMIT, json=EXAMPLE)
    assert (published.status_code, published.json()["code"]) == (409, "version_already_published")
    await accepted(http, data_version="v2024.10.06")


async def test_an_end_is_final_and_a_repeated_report_changes_nothing(http: httpx.AsyncClient) -> None:
    process_id = await accepted(http)
    assert [(await report(http, process_id, "failed")).status_code for _ in range(2)] == [204, 204]
    late = await report(http, process_id, "succeeded")
    assert (late.status_code, late.json()["code"]) == (409, "attempt_superseded")
    assert (await http.get(f"{SUBMIT}/{process_id}")).json()["state"] == "failed"
    assert (await report(http, str(uuid4()), "failed")).status_code == 404


async def test_only_signed_and_fresh_reports_count(http: httpx.AsyncClient) -> None:
    process_id = await accepted(http)
    forged = await report(http, process_id, "failed", secret=OTHER_SECRET)
    old = await report(http, process_id, "failed", age=timedelta(minutes=6))
    bare = await http.post(CALLBACK, json={"data": {"process_id": process_id, "state": "failed"}})
    assert [answer.status_code for answer in (forged, old, bare)] == [401, 401, 401]
    assert (await report(http, process_id, "running")).status_code == 422
    assert (await http.get(f"{SUBMIT}/{process_id}")).json()["state"] == "accepted"


async def test_without_the_token_there_is_nothing_to_see(http: httpx.AsyncClient) -> None:
    process_id = await accepted(http)
    for given in (b"", b"Bearer wrong", b"Bearer \xe4"):
        headers = {b"Authorization": given}
        assert (await http.post(SUBMIT, json=EXAMPLE, headers=headers)).status_code == 401
        assert (await http.get(f"{SUBMIT}/{process_id}", headers=headers)).status_code == 401
    assert (await http.get(f"{SUBMIT}/{uuid4()}")).json()["code"] == "not_found"


FIELDS: dict[str, list[Any]] = {
    "entity_id": ["a", "a.b", "a..b", "a.", ".a", "a/b", "-a", "a-", "x" * 128, "x" * 129, "ä", "a\n", 7],
    "data_version": ["v1", "", "v1.0-rc_1", None],
    "action": ["a", "A", "1a", "a" * 63, "a" * 64],
    "callback_url": [None, "https://x.example/\n", "https://x.example/\\", "https://x/" + "y" * 2040],
    "resource_profile": ["small", "Small", {}, {"driver_cores": 65}, {"executor_memory": "0g"}, {"x": 1}],
    "params": [{"deep": [1, {"x": None}]}, [], None],
    "inputs": [{"orders": {"entity_id": "a", "data_version": "v"}}, {"Orders": {}}, {"o": {"entity_id": "a"}}],
    "priority": [-10, 10, 11, "1", True, 1.0],
    "deadline_seconds": [59, 60, 2_592_000, 2_592_001],
    "action_digest": ["0" * 64, "0" * 63, "G" * 64],
    "surprise": [1],
}
SAMPLES = [{}, *({field: value} for field, values in FIELDS.items() for value in values)]


@pytest.mark.parametrize("change", SAMPLES, ids=str)
def test_its_rules_and_its_hash_are_those_of_the_contract(change: dict[str, Any]) -> None:
    value = EXAMPLE | change
    try:
        expected = ProcessRequest.model_validate(value).request_hash()
    except ValidationError:
        with pytest.raises(ValidationError):
            endpoint.Submit.model_validate(value)
    else:
        asked = endpoint.Submit.model_validate(value).canonical()
        assert endpoint.hashlib.sha256(asked.encode()).hexdigest() == expected


async def test_a_broken_rule_is_named_and_its_value_is_not_echoed(http: httpx.AsyncClient) -> None:
    answer = await http.post(SUBMIT, json=EXAMPLE | {"entity_id": "../canary"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == "body.entity_id"
    assert "canary" not in answer.text
    for body in (b"{", b'{"entity_id": NaN}', b"[]", b"\xff"):
        refused = await http.post(SUBMIT, content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code in {400, 422}, body


async def test_odd_strings_are_kept(http: httpx.AsyncClient) -> None:
    params = {"nul": "\x00", "lone": "\ud800", "umlaut": "ä"}
    body = json.dumps(EXAMPLE | {"params": params})  # escaped: no client sends a lone surrogate otherwise
    answer = await http.post(SUBMIT, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
