"""Two tenants on every route, with keys of all kinds: what is one's own never shows to the other."""

import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from api.app import create_app
from contracts.states import State
from contracts.tenancy import Scope
from control.tables import processes, snapshots
from control.tenancy import keys
from tests.integration.belongings import BACKFILL, DATASET, DELIVERED, Belongings, one_of_each
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.tenant import Caller, make_tenant

pytestmark = pytest.mark.anyio

ENTITY, NOTE, HOOK = "acme-secret-entity", "acme-secret-param", "acme-secret-hook"
PUBLISHED = State.SUCCEEDED.value
QUERIES = {
    ("POST", "/v1/processes"): ("dry_run=true", "on_conflict=use_existing"),
    ("POST", "/v1/backfills"): ("dry_run=true",),
    ("GET", "/v1/processes"): (
        "entity_id={entity_id}",
        "data_version=succeeded",
        "state=failed",
        "backfill_id={backfill_id}",
    ),
    ("GET", "/v1/snapshots"): ("entity_id={entity_id}", "data_version=succeeded", "dataset=raw"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """One call of the API, as it names somebody's belongings."""

    method: str
    path: str
    body: dict[str, Any] | None = None

    async def ask(self, plane: ControlPlane, key: str | None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return await plane.http.request(self.method, self.path, json=self.body, headers=headers)


def routes() -> Iterator[tuple[str, str]]:
    """Every call of the API that a tenant may make, as the API itself documents them."""
    for path, operations in create_app().openapi()["paths"].items():
        for method, operation in operations.items():
            if operation.get("security"):
                yield method.upper(), path


def questions(of: Belongings) -> Iterator[Question]:
    """Ask everything about somebody's belongings: on every route, with every option."""
    for method, path in routes():
        bodies: list[dict[str, Any] | None] = [*bodies_of(path, of.entity_id)] if method == "POST" else []
        queries = ["", *(f"?{query}" for query in QUERIES.get((method, path), ()))]
        for where, query, body in product(filled(path, of), queries, bodies or [None]):
            options = query.format(entity_id=of.entity_id, backfill_id=of.backfill_id)
            yield Question(method, where + options, body)


def filled(path: str, of: Belongings) -> list[str]:
    place = path.replace("{entity_id}", of.entity_id).replace("{data_version}", PUBLISHED).replace("{dataset}", DATASET)
    place = place.replace("{backfill_id}", str(of.backfill_id))
    if "{process_id}" not in place:
        return [place]
    return [place.replace("{process_id}", str(process_id)) for process_id in of.processes.values()]


def bodies_of(path: str, entity_id: str) -> Iterator[dict[str, Any]]:
    there: dict[str, Any] = {**SUBMIT, "entity_id": entity_id, "data_version": PUBLISHED}
    reading: dict[str, Any] = {**SUBMIT, "entity_id": "globex-own", "action": "refine", "params": {"day": "1"}}
    reading["inputs"] = {"raw": {"entity_id": entity_id, "data_version": PUBLISHED}}
    if path == "/v1/processes":
        yield from (there, {**there, "data_version": State.RUNNING.value}, reading)
    if path == "/v1/processes:batch":
        yield {"processes": [there, reading]}
    if path == "/v1/snapshots":
        yield {"entity_id": entity_id, "data_version": PUBLISHED, "dataset": DELIVERED}
    if path == "/v1/backfills":
        for select in ({"entities": [entity_id]}, {"pattern": f"{entity_id}*"}):
            yield {**BACKFILL, "select": select}
        yield {"action": "refine", "data_version": PUBLISHED, "params": {"day": "1"}, "select": {"with_inputs": True}}


def told(answer: httpx.Response, of: Belongings) -> tuple[int, str]:
    """Return what an answer tells, without what the question named and what differs in any two answers."""
    text = answer.text.replace(of.entity_id, "ENTITY").replace(str(of.backfill_id), "BACKFILL")
    for process_id in of.processes.values():
        text = text.replace(str(process_id), "PROCESS")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    return answer.status_code, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME", text)


@pytest.fixture
async def secret(acme: Caller) -> Belongings:
    """One of everything, acme's, with a secret in each place."""
    return await one_of_each(acme, ENTITY, NOTE, HOOK)


@pytest.fixture
def absent() -> Belongings:
    """What nobody has."""
    return Belongings("acme-absent-entity", {state: uuid4() for state in State}, uuid4(), uuid4())


async def keys_of(plane: ControlPlane, tenant: str) -> dict[str, str]:
    """Return a key with each scope, and one with all."""
    kinds = {scope.value: [scope] for scope in Scope} | {"all": list(Scope)}
    async with plane.db.transaction() as conn:
        return {kind: (await keys.create(conn, tenant, scopes)).get_secret_value() for kind, scopes in kinds.items()}


async def useless_keys(acme: Caller) -> list[str | None]:
    async with acme.plane.db.transaction() as conn:
        revoked = (await keys.create(conn, acme.id, list(Scope))).get_secret_value()
        await keys.revoke(conn, revoked[3:15])
        expired = (await keys.create(conn, acme.id, list(Scope), timedelta(seconds=-1))).get_secret_value()
    wrong = f"{acme.key[:-1]}{'A' if acme.key[-1] != 'A' else 'B'}"
    return [None, "x", revoked, expired, wrong, acme.key[:-1]]


async def test_the_replay_asks_every_route_and_its_owner_is_shown_something(acme: Caller, secret: Belongings) -> None:
    asked = list(questions(secret))
    places = {place for _, path in routes() for place in filled(path, secret)}
    assert {question.path.partition("?")[0] for question in asked} == places
    assert len(list(routes())) > 15
    shown = {each.path: (await each.ask(acme.plane, acme.key)).text for each in asked if each.method == "GET"}
    marks = (ENTITY, HOOK, str(secret.backfill_id))
    silent = {path for path, text in shown.items() if not any(mark in text for mark in marks)}
    not_ended = [process_id for state, process_id in secret.processes.items() if not state.is_terminal]
    assert silent == {
        "/v1/actions",
        f"/v1/processes?backfill_id={secret.backfill_id}",  # nothing has been made of it yet
        *(f"/v1/processes/{process_id}/callbacks" for process_id in not_ended),
    }


async def test_another_tenant_cannot_tell_what_is_there_from_what_is_not(
    acme: Caller, secret: Belongings, absent: Belongings
) -> None:
    plane = acme.plane
    await make_tenant(plane, "globex", "globex-*")
    before = await everything(acme)
    marks = ("acme", acme.key[3:15], str(secret.launch_id), *map(str, secret.processes.values()))
    for kind, key in (await keys_of(plane, "globex")).items():
        for there, not_there in zip(questions(secret), questions(absent), strict=True):
            answer, other = await there.ask(plane, key), await not_there.ask(plane, key)
            assert told(answer, secret) == told(other, absent), (kind, there)
            rest = answer.text.replace(ENTITY, "")  # which was asked for; nothing else of acme's may stand there
            assert not any(mark in rest for mark in marks), (kind, there, answer.text)
    assert await everything(acme) == before


async def everything(acme: Caller) -> list[Any]:
    """Return what acme's belongings come to: its processes with their events, and what is published."""
    mine = await acme.plane.rows(select(processes).where(processes.c.tenant_id == acme.id).order_by(processes.c.id))
    return [await acme.plane.rows(snapshots), *[(row, await acme.plane.kinds(row["id"])) for row in mine]]


async def test_a_tenant_that_may_claim_anything_reads_no_input_of_anothers(
    acme: Caller, secret: Belongings, absent: Belongings
) -> None:
    globex = await make_tenant(acme.plane, "globex")
    for query in ("", "?dry_run=true", "?on_conflict=use_existing"):
        bodies = [list(bodies_of("/v1/processes", of.entity_id))[-1] for of in (secret, absent)]
        there, not_there = [await globex.post(f"/v1/processes{query}", body) for body in bodies]
        assert told(there, secret) == told(not_there, absent)
        assert there.json()["code"] == "missing_input"
    refused = await globex.submit(ENTITY)
    assert (refused.status_code, refused.json()["detail"]) == (404, f"there is no entity {ENTITY}")


async def test_a_key_that_is_none_opens_nothing(acme: Caller, secret: Belongings) -> None:
    useless = await useless_keys(acme)
    answers = [await question.ask(acme.plane, key) for question in questions(secret) for key in useless]
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}


async def test_a_key_does_what_its_scope_says(acme: Caller, secret: Belongings) -> None:
    held = await keys_of(acme.plane, "acme")
    for question in questions(secret):
        wanted = Scope.READ if question.method == "GET" else Scope.SUBMIT
        for scope in Scope:
            answer = await question.ask(acme.plane, held[scope])
            assert (answer.status_code == 403) is (scope is not wanted), (scope, question, answer.text)


@pytest.mark.usefixtures("secret")
async def test_keys_and_cursors_are_ones_own(acme: Caller) -> None:
    plane, other = acme.plane, await make_tenant(acme.plane, "globex")
    # The same Idempotency-Key of two tenants is two keys.
    for caller, entity in ((acme, "a-1"), (other, "g-1")):
        headers = {**caller.headers, "Idempotency-Key": "one"}
        answer = await plane.post("/v1/processes", headers, {**SUBMIT, "entity_id": entity})
        assert answer.status_code == 202
        assert "idempotency-replayed" not in answer.headers
    # A cursor of another tenant leads into one's own list.
    cursor = (await acme.get("/v1/processes?limit=1")).json()["next_cursor"]
    page = (await other.get(f"/v1/processes?cursor={cursor}")).json()["processes"]
    assert {each["entity_id"] for each in page} <= {"g-1"}


async def test_an_absent_process_is_not_told_from_anothers_by_the_time_it_takes(
    acme: Caller, secret: Belongings
) -> None:
    globex = await make_tenant(acme.plane, "globex")
    others = f"/v1/processes/{secret.processes[State.SUCCEEDED]}"

    async def seconds(path: str) -> float:
        began = time.perf_counter()
        assert (await globex.get(path)).status_code == 404
        return time.perf_counter() - began

    # In turns, so that whatever else goes on meets both.
    taken = [(await seconds(others), await seconds(f"/v1/processes/{uuid4()}")) for _ in range(1_000)]
    there, absent = (statistics.median(each) for each in zip(*taken, strict=True))
    assert abs(there - absent) < 0.001
