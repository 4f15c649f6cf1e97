"""Whose an entity is, and how much a tenant may ask for."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import func

from contracts.tenancy import EVERYBODY, Tenant, TenantLimits
from control.processes import get as view_of
from control.releasing.release import release_once
from control.tables import entities, processes
from control.tenancy import tenants
from control.tenancy.admin_log import newest
from control.tenancy.tables import admin_log
from control.tenancy.tenants import EntityBusyError
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import Caller, make_tenant
from tests.integration.worker_rows import set_columns
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio
REFINE: dict[str, Any] = {"action": "refine", "params": {"day": "monday"}}


@pytest.fixture
async def globex(plane: ControlPlane) -> Caller:
    return await make_tenant(plane, "globex")


async def share(plane: ControlPlane, entity_id: str, *readers: str) -> None:
    async with plane.db.transaction() as conn:
        await tenants.share(conn, entity_id, readers, "test")


async def test_who_asks_first_has_the_entity_and_others_do_not_see_it(acme: Caller, globex: Caller) -> None:
    assert (await acme.submit("e-1")).status_code == 202
    assert (await acme.submit("e-1", data_version="v2")).status_code == 202
    for query in ("", "?dry_run=true", "?on_conflict=use_existing"):
        refused = await globex.submit("e-1", query, data_version="v3")
        assert (refused.status_code, refused.json()["detail"]) == (404, "there is no entity e-1")
    (owned,) = await acme.plane.rows(entities)
    assert (owned["entity_id"], owned["tenant_id"], owned["shared_with"]) == ("e-1", "acme", [])
    claims = [row for row in await acme.plane.rows(admin_log) if row["kind"] == "entity_claimed"]
    assert [(row["actor"], row["detail"]) for row in claims] == [(acme.actor, {"entity_id": "e-1"})]


async def test_one_of_two_that_race_has_it(acme: Caller, globex: Caller) -> None:
    callers = [acme, globex] * 6
    answers = await asyncio.gather(
        *(caller.submit("e-1", data_version=f"v{number}") for number, caller in enumerate(callers))
    )
    (owned,) = await acme.plane.rows(entities)
    told = {
        (caller.id == owned["tenant_id"], answer.status_code) for caller, answer in zip(callers, answers, strict=True)
    }
    assert told == {(True, 202), (False, 404)}
    assert {row["tenant_id"] for row in await acme.plane.rows(processes)} == {owned["tenant_id"]}


async def test_a_tenant_claims_what_matches_its_pattern_only(plane: ControlPlane) -> None:
    caller = await make_tenant(plane, "acme", "acme-*")
    assert (await caller.submit("acme-1")).status_code == 202
    other = await make_tenant(plane, "globex")
    for entity in ("globex-1", "globex-2"):  # whether somebody has it or not
        await other.submit("globex-2")
        refused = await caller.submit(entity)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "entity_id")
    refused = await caller.submit("globex-1")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "entity_id")
    assert "'acme-*'" in refused.json()["errors"][0]["rule"]
    async with plane.db.transaction() as conn:
        await tenants.give(conn, "globex-1", "acme", "test")  # an administrator may
    assert (await caller.submit("globex-1")).status_code == 202


async def test_a_refused_submit_claims_nothing(acme: Caller) -> None:
    await acme.submit("e-1", action="nothing")
    await acme.submit("e-1", priority=99)
    assert await acme.plane.rows(entities) == []


@pytest.mark.parametrize(("readers", "status"), [((), 422), (("globex",), 202), ((EVERYBODY,), 202), (("other",), 422)])
async def test_an_input_is_read_by_its_owner_and_whom_it_is_shared_with(
    acme: Caller, globex: Caller, readers: tuple[str, ...], status: int
) -> None:
    plane = acme.plane
    await make_tenant(plane, "other")
    await acme.submit("rates")
    plane.lake.commit(place(entity_id="rates"), None)
    await share(plane, "rates", *readers)
    inputs = {"raw": {"entity_id": "rates", "data_version": "v1"}}
    answer = await globex.submit("g-1", inputs=inputs, **REFINE)
    assert answer.status_code == status
    if status == 422:
        absent = await globex.submit("g-1", inputs={"raw": {"entity_id": "absent", "data_version": "v1"}}, **REFINE)
        said = [each.json() | {"coordinate": "", "detail": ""} for each in (answer, absent)]
        assert said[0] == said[1]
        assert answer.json()["detail"].replace("rates", "absent") == absent.json()["detail"]
    assert (await globex.submit("rates", data_version="v2")).status_code == 404  # to be read, not to be written


async def test_a_profile_beyond_the_bounds_is_refused_field_by_field(plane: ControlPlane) -> None:
    bounds = {"driver_memory": "1g", "executor_instances": 4}
    caller = await make_tenant(plane, "acme", profile=bounds, in_flight_cores=5)
    wanted = {"driver_memory": "2g", "executor_instances": 5, "executor_memory": "64g"}
    refused = await caller.submit("e-1", resource_profile=wanted)
    assert refused.status_code == 422
    assert {error["field"] for error in refused.json()["errors"]} == {
        "resource_profile.driver_memory",
        "resource_profile.executor_instances",
        "resource_profile",
    }
    assert (await caller.submit("e-1", resource_profile="large")).status_code == 422  # the named ones too
    fits = {"driver_memory": "1024m", "executor_instances": 4}
    assert (await caller.submit("e-1", resource_profile=fits)).status_code == 202
    (row,) = await plane.rows(processes)
    assert row["cores"] == 5


async def test_a_full_backlog_refuses_until_something_was_released(plane: ControlPlane) -> None:
    caller = await make_tenant(plane, "acme", backlog=2)
    first = await caller.submit("e-1")
    assert (await caller.submit("e-2")).status_code == 202
    refused = await caller.submit("e-3")
    assert (refused.status_code, refused.json()["code"]) == (429, "backlog_full")
    assert int(refused.headers["retry-after"]) > 0
    await caller.post(f"{first.headers['location']}:cancel")
    assert (await caller.submit("e-3")).status_code == 202


async def test_requests_beyond_the_rate_wait(plane: ControlPlane) -> None:
    caller = await make_tenant(plane, "acme", requests_per_second=0.01)
    other = await make_tenant(plane, "globex")
    assert (await caller.get("/v1/processes")).status_code == 200
    refused = await caller.get("/v1/processes")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert {(await other.get("/v1/processes")).status_code for _ in range(20)} == {200}


async def test_new_limits_hold_from_the_next_request_on(acme: Caller) -> None:
    assert (await acme.submit("e-1")).status_code == 202
    async with acme.plane.db.transaction() as conn:
        await tenants.change(conn, Tenant(id="acme", limits=TenantLimits(backlog=1)), "test")
    assert (await acme.submit("e-2")).status_code == 429


async def test_what_an_administrator_does_is_logged(acme: Caller, globex: Caller) -> None:
    plane = acme.plane
    submitted = await acme.submit("e-1")
    async with plane.db.transaction() as conn:
        with pytest.raises(EntityBusyError, match=submitted.json()["process_id"]):
            await tenants.give(conn, "e-1", "globex", "cli:root")
    await plane.succeed_at(submitted, place(entity_id="e-1"), "acme")
    async with plane.db.transaction() as conn:
        await tenants.share(conn, "e-1", ["globex"], "cli:root")
        await tenants.give(conn, "e-1", "globex", "cli:root")
        lines = await newest(conn, 2)
    assert [(line["kind"], line["actor"], line["tenant_id"]) for line in lines] == [
        ("entity_given", "cli:root", "globex"),
        ("entity_shared", "cli:root", "acme"),
    ]
    assert (await acme.submit("e-1", data_version="v2")).status_code == 404
    assert (await globex.submit("e-1", data_version="v2")).status_code == 202


async def test_a_process_that_waits_says_for_what(plane: ControlPlane) -> None:
    caller = await make_tenant(plane, "acme", in_flight=1, in_flight_cores=2)
    log = MemoryLog()

    async def blocked(answer: httpx.Response) -> tuple[str, str, int | None]:
        shown = (await caller.get(answer.headers["location"])).json()["blocked_by"]
        return shown["code"], shown["message"], shown["position"]

    first, second = await caller.submit("e-1"), await caller.submit("e-2")
    assert await blocked(second) == ("waiting_for_release", "1 of yours go before it", 1)
    assert await release_once(plane.db, log, plane.settings) == 1
    assert (await blocked(first))[0] == "waiting_for_sensor"
    assert await blocked(second) == (
        "tenant_limit",
        "your tenant's limit: 1 of 1 processes are in flight; 0 of yours go before it",
        0,
    )
    async with plane.db.transaction() as conn:
        await tenants.change(conn, Tenant(id="acme", limits=TenantLimits(in_flight_cores=1)), "test")
    assert (await blocked(second))[:2] == (
        "tenant_limit",
        "your tenant's limit: 2 of 1 cores are in flight; 0 of yours go before it",
    )
    async with plane.db.transaction() as conn:
        await tenants.change(conn, Tenant(id="acme"), "test")
    process_id = UUID(second.json()["process_id"])
    narrow = plane.settings.model_copy(update={"max_in_flight": 1})
    shown = (await view_of(plane.db, None, narrow, "acme", process_id)).blocked_by
    assert shown is not None
    assert (shown.code, shown.message) == ("no_place_free", "every place is taken; 0 of yours go before it")
    await set_columns(plane.db, process_id, not_before=func.now() + timedelta(minutes=3))
    assert (await blocked(second))[0] == "waiting_for_its_time"


@pytest.mark.parametrize("name", ["acme-eu", "Acme", "*", "", "a" * 64])
def test_a_tenant_has_a_name_that_every_record_can_carry(name: str) -> None:
    with pytest.raises(ValidationError):
        Tenant(id=name)


async def test_what_is_given_away_is_shared_with_nobody(acme: Caller, globex: Caller) -> None:
    await acme.plane.succeed_at(await acme.submit("e-1"), place(entity_id="e-1"), "acme")
    await share(acme.plane, "e-1", "globex")
    other = await make_tenant(acme.plane, "other")
    async with acme.plane.db.transaction() as conn:
        await tenants.give(conn, "e-1", "other", "test")
    (owned,) = await acme.plane.rows(entities)
    assert (owned["tenant_id"], owned["shared_with"]) == (other.id, [])
    assert (await globex.get("/v1/snapshots")).json()["snapshots"] == []
