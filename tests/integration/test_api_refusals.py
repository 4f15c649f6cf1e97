"""Bad inputs (the table of refusals in docs/architecture.md): each is one problem document, and leaves no trace."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import insert, update

from api.app import create_app
from contracts.intake import INTAKE_PATH
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.tenancy import DEFAULT_TENANT, Scope
from control import keys
from control.tables import api_keys, processes, tenants
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.control_plane import CATALOGUE, SUBMIT, ControlPlane, MemoryLake

pytestmark = pytest.mark.anyio
JSON = {"Content-Type": "application/json"}


def _is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), (answer.request.content, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "remedy"} <= set(document)
    return document


async def _key(plane: ControlPlane, tenant: str = DEFAULT_TENANT, *scopes: Scope) -> str:
    async with plane.db.transaction() as conn:
        return (await keys.create(conn, tenant, scopes or list(Scope))).get_secret_value()


async def test_every_bad_key_gets_one_and_the_same_answer(plane: ControlPlane) -> None:
    expired, revoked = await _key(plane), await _key(plane)
    async with plane.db.transaction() as conn:
        ago = {"expires_at": api_keys.c.created_at - timedelta(days=1)}
        await conn.execute(update(api_keys).where(api_keys.c.prefix == expired[3:15]).values(ago))
        assert await keys.revoke(conn, revoked[3:15])
    other_secret = plane.key[:-4] + "AAAA"
    headers = ["Bearer", "Bearer x", plane.key, f"Basic {plane.key}", "Bearer lm_\x7f_x", f"Bearer {other_secret}"]
    headers += [f"Bearer {key}" for key in (expired, revoked, "lm_0123456789ab_" + "A" * 43, plane.key + "x")]
    bodies = set()
    for header in (None, *headers):
        answer = await plane.http.get("/v1/processes", headers={"Authorization": header} if header else {})
        _is_problem(answer, 401, "unauthorized")
        bodies.add(answer.content)
    assert len(bodies) == 1


async def test_a_key_without_the_scope_is_refused_by_name(plane: ControlPlane) -> None:
    reader, submitter = await _key(plane, DEFAULT_TENANT, Scope.READ), await _key(plane, DEFAULT_TENANT, Scope.SUBMIT)
    answer = await plane.http.post("/v1/processes", json=SUBMIT, headers={"Authorization": f"Bearer {reader}"})
    assert "submit" in _is_problem(answer, 403, "forbidden")["detail"]
    answer = await plane.http.get("/v1/processes", headers={"Authorization": f"Bearer {submitter}"})
    _is_problem(answer, 403, "forbidden")


async def test_another_tenants_process_is_as_absent_as_an_absent_one(plane: ControlPlane) -> None:
    process_id = await plane.accepted()
    async with plane.db.transaction() as conn:
        await conn.execute(insert(tenants).values(id="other", webhook_secret="whsec_AAAA"))
    other = {"Authorization": f"Bearer {await _key(plane, 'other')}"}
    paths = (process_id, uuid4(), "not-a-uuid", "0")
    answers = [await plane.http.get(f"/v1/processes/{path}", headers=other) for path in paths]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert (await plane.http.get("/v1/processes", headers=other)).json()["processes"] == []
    taken = await plane.http.post("/v1/processes", json=SUBMIT, headers=other)
    assert "process_id" not in _is_problem(taken, 409, "process_active")


async def _stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


async def test_large_bodies_are_cut_off(plane: ControlPlane) -> None:
    headers = {**plane.auth(), **JSON}
    announced = await plane.http.post("/v1/processes", content=b" " * 65_537, headers=headers)
    streamed = await plane.http.post("/v1/processes", content=_stream(1_000_000), headers=headers)
    for answer in (announced, streamed):
        _is_problem(answer, 413, "payload_too_large")
        assert answer.headers["connection"] == "close"


INTERNAL_LIMITS = [("PUT", ACTIONS_PATH, 4), ("POST", INTAKE_PATH, 16), ("POST", REPORT_PATH, 1)]


@pytest.mark.parametrize(("method", "path", "mebibytes"), INTERNAL_LIMITS)
async def test_bodies_of_the_compute_plane_are_cut_off_too(
    plane: ControlPlane, method: str, path: str, mebibytes: int
) -> None:
    secret, limit = plane.settings.internal_secret.get_secret_value(), mebibytes * 1024 * 1024
    headers = {SIGNATURE_HEADER: sign(secret, method, path, b"")}
    for content in (b" " * (limit + 1), _stream(limit + 1024)):
        _is_problem(await plane.http.request(method, path, content=content, headers=headers), 413, "payload_too_large")
    longest = b" " * limit
    headers = {SIGNATURE_HEADER: sign(secret, method, path, longest)}
    answer = await plane.http.request(method, path, content=longest, headers=headers)
    _is_problem(answer, 422, "validation_failed")


async def test_nothing_is_read_of_a_call_that_cannot_be_signed_rightly(plane: ControlPlane) -> None:
    secret = plane.settings.internal_secret.get_secret_value()
    stale = [sign(secret, "POST", REPORT_PATH, b"{}", now=time.time() + shift) for shift in (-400, 400)]
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1024
            yield b" " * 1024

    for signature in (None, "", "t=,v1=", "t=1", "v1=" + "0" * 64, "t=" + "9" * 5000 + ",v1=" + "0" * 64, *stale):
        headers = {} if signature is None else {SIGNATURE_HEADER: signature}
        answer = await plane.http.post(REPORT_PATH, content=body(), headers=headers)
        _is_problem(answer, 401, "unauthorized")
    assert taken == 0


NOT_PLAIN_JSON: list[dict[str, str]] = [
    {"Content-Type": "text/plain"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "application/problem+json"},
    {**JSON, "Content-Encoding": "gzip"},
    {},
]


async def test_only_plain_json_is_read(plane: ControlPlane) -> None:
    body = gzip.compress(json.dumps(SUBMIT).encode())
    for headers in NOT_PLAIN_JSON:
        answer = await plane.http.post("/v1/processes", content=body, headers={**plane.auth(), **headers})
        _is_problem(answer, 415, "unsupported_media_type")


BAD_JSON: list[tuple[bytes, str]] = [
    (b"", "malformed_json"),
    (b"{", "malformed_json"),
    (b"{} {}", "malformed_json"),
    (b"[" * 21 + b"]" * 21, "malformed_json"),
    (b'{"priority": NaN}', "malformed_json"),
    (b'{"priority": ' + b"1" * 5000 + b"}", "malformed_json"),
    (b'{"entity_id": "\\ud800"}', "malformed_json"),
    (json.dumps(SUBMIT).encode("utf-16"), "malformed_json"),
    (b'{"entity_id": "a", "entity_id": "b"}', "duplicate_key"),
]


async def test_json_has_one_meaning_or_none(plane: ControlPlane) -> None:
    for body, code in BAD_JSON:
        answer = await plane.http.post("/v1/processes", content=body, headers={**plane.auth(), **JSON})
        _is_problem(answer, 400, code)


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
        document = _is_problem(await plane.submit(**changes), 422, "validation_failed")
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
        document = _is_problem(await plane.submit(action="refine", params=params), 422, "validation_failed")
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
        _is_problem(await plane.submit(callback_url=url), 422, "callback_forbidden")


async def test_an_unusable_idempotency_key_is_refused(plane: ControlPlane) -> None:
    for keys_sent in ([""], ["a b"], ["x" * 256], ["\x7f"], ["a", "b"], ["\u00e9"]):
        sent = [*plane.auth().items(), *(("Idempotency-Key", key) for key in keys_sent)]
        headers = [(name.encode(), value.encode("latin-1")) for name, value in sent]
        answer = await plane.http.post("/v1/processes", json=SUBMIT, headers=headers)
        _is_problem(answer, 400, "invalid_idempotency_key")


BAD_QUERIES = [
    "limit=0",
    "limit=-1",
    "limit=1000000000",
    "limit=x",
    "cursor=x",
    "cursor=%00",
    "cursor=" + "A" * 65,
    "sort=state",
    "state=done",
    "entity_id=../x",
    "entity_id=a%00b",
    "action=Ingest",
]


async def test_a_bad_list_query_is_refused(plane: ControlPlane) -> None:
    for query in BAD_QUERIES:
        _is_problem(await plane.get(f"/v1/processes?{query}"), 422, "validation_failed")


async def test_an_option_of_submit_that_is_not_offered_is_refused(plane: ControlPlane) -> None:
    answer = await plane.http.post("/v1/processes?dry_run=true", json=SUBMIT, headers=plane.auth())
    _is_problem(answer, 422, "validation_failed")
    assert await plane.rows(processes) == []


async def test_unknown_addresses_and_methods(plane: ControlPlane) -> None:
    _is_problem(await plane.http.get("/v2/processes"), 404, "not_found")
    answer = await plane.http.delete("/v1/processes")
    _is_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST"}


async def test_unsigned_calls_of_the_compute_plane_are_refused(plane: ControlPlane) -> None:
    secret = plane.settings.internal_secret.get_secret_value()
    calls = [("POST", INTAKE_PATH), ("POST", REPORT_PATH), ("PUT", ACTIONS_PATH), ("GET", f"{LAUNCH_PATH}/{uuid4()}")]
    for method, path in calls:
        signatures = [
            "",
            "t=1,v1=é",
            sign(secret, method, path, b"{}", now=1.0),
            sign("another-secret-of-24-chars", method, path, b"{}"),
            sign(secret, method, path, b"{ }"),
            sign(secret, method, "/elsewhere", b"{}"),
        ]
        for signature in signatures:
            headers = {SIGNATURE_HEADER.encode(): signature.encode("latin-1")}
            answer = await plane.http.request(method, path, content=b"{}", headers=headers)
            _is_problem(answer, 401, "unauthorized")
        answer = await plane.http.request(method, path, content=b"{}", headers=plane.auth())
        _is_problem(answer, 401, "unauthorized")


async def test_a_contradictory_catalogue_is_refused_whole(plane: ControlPlane) -> None:
    action = CATALOGUE["actions"][0]
    for actions in ([action, action], [action, {**action, "name": "other"}], [{**action, "profile": "huge"}]):
        answer = await plane.publish({**CATALOGUE, "actions": actions})
        _is_problem(answer, 422, "validation_failed")
    assert (await plane.submit()).status_code == 202


async def test_a_database_that_is_away_is_said_so(settings: ControlSettings) -> None:
    away = Database(SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    app = create_app(settings=settings, db=away, lake=MemoryLake())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        assert (await http.get("/healthz")).status_code == 200
        for answer in (await http.get("/readyz"), await http.post("/v1/processes", json=SUBMIT)):
            _is_problem(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"]
    await away.close()


async def test_pages_follow_one_another_without_gap_or_overlap(plane: ControlPlane) -> None:
    made = [str(await plane.accepted(data_version=f"v{number}")) for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await plane.get(f"/v1/processes?limit=3{cursor}")).json()
        seen += [process["process_id"] for process in page["processes"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]
    one = (await plane.get("/v1/processes?data_version=v3&entity_id=cust_8842&state=accepted&action=ingest")).json()
    assert [process["process_id"] for process in one["processes"]] == [made[3]]


async def test_no_answer_or_log_line_holds_a_secret(plane: ControlPlane, capfd: pytest.CaptureFixture[str]) -> None:
    texts = [(await plane.submit(entity_id=plane.key + "!")).text, (await plane.submit(action=plane.key)).text]
    texts += [(await plane.get("/openapi.json")).text, json.dumps(await asyncio.to_thread(capfd.readouterr))]
    for secret in (plane.key, plane.settings.internal_secret.get_secret_value()):
        assert all(secret not in text for text in texts)
