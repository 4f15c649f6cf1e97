"""Who may not: keys, scopes, tenants and signatures that are not good enough learn nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert, update

from contracts.intake import INTAKE_PATH
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.tables import tenants
from control.tenancy import keys
from control.tenancy.tables import api_keys
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.problems import is_problem

pytestmark = pytest.mark.anyio


async def _key(plane: ControlPlane, tenant: str = DEFAULT_TENANT, *scopes: Scope) -> str:
    async with plane.db.transaction() as conn:
        return (await keys.create(conn, tenant, scopes or list(Scope))).get_secret_value()


async def test_every_bad_key_gets_one_and_the_same_answer(plane: ControlPlane) -> None:
    expired, revoked = await _key(plane), await _key(plane)
    async with plane.db.transaction() as conn:
        ago = {"expires_at": api_keys.c.created_at - timedelta(days=1)}
        await conn.execute(update(api_keys).where(api_keys.c.prefix == expired[3:15]).values(ago))
        await keys.revoke(conn, revoked[3:15])
    other_secret = plane.key[:-4] + "AAAA"
    headers = ["Bearer", "Bearer x", plane.key, f"Basic {plane.key}", "Bearer lm_\x7f_x", f"Bearer {other_secret}"]
    headers += [f"Bearer {key}" for key in (expired, revoked, "lm_0123456789ab_" + "A" * 43, plane.key + "x")]
    bodies = set()
    for header in (None, *headers):
        answer = await plane.http.get("/v1/processes", headers={"Authorization": header} if header else {})
        is_problem(answer, 401, "unauthorized")
        bodies.add(answer.content)
    assert len(bodies) == 1


async def test_a_key_without_the_scope_is_refused_by_name(plane: ControlPlane) -> None:
    reader, submitter = await _key(plane, DEFAULT_TENANT, Scope.READ), await _key(plane, DEFAULT_TENANT, Scope.SUBMIT)
    answer = await plane.http.post("/v1/processes", json=SUBMIT, headers={"Authorization": f"Bearer {reader}"})
    assert "submit" in is_problem(answer, 403, "forbidden")["detail"]
    answer = await plane.http.get("/v1/processes", headers={"Authorization": f"Bearer {submitter}"})
    is_problem(answer, 403, "forbidden")


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
    assert "process_id" not in is_problem(taken, 404, "not_found")


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
            is_problem(answer, 401, "unauthorized")
        answer = await plane.http.request(method, path, content=b"{}", headers=plane.auth())
        is_problem(answer, 401, "unauthorized")


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
        is_problem(answer, 401, "unauthorized")
    assert taken == 0


async def test_no_answer_or_log_line_holds_a_secret(plane: ControlPlane, capfd: pytest.CaptureFixture[str]) -> None:
    texts = [(await plane.submit(entity_id=plane.key + "!")).text, (await plane.submit(action=plane.key)).text]
    texts += [(await plane.get("/openapi.json")).text, json.dumps(await asyncio.to_thread(capfd.readouterr))]
    for secret in (plane.key, plane.settings.internal_secret.get_secret_value()):
        assert all(secret not in text for text in texts)
