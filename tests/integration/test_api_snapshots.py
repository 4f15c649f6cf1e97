"""What is published, as those see it who may read it."""

from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest

from contracts.sources import SourceParams
from control.tenancy import tenants
from resources.settings import ControlSettings
from tests.integration.control_plane import CATALOGUE, ControlPlane
from tests.integration.memory_lake import place
from tests.integration.tenant import Caller, make_tenant

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    return settings.model_copy(update={"register_sources": ("s3://partner/{tenant}/",)})


async def published(caller: Caller, entity_id: str, *versions: str) -> None:
    """Let the tenant publish these versions."""
    for version in versions:
        answer = await caller.submit(entity_id, data_version=version)
        process_id = UUID(answer.json()["process_id"])
        here = place(entity_id=entity_id, data_version=version)
        caller.plane.lake.commit(here, process_id, tenant=caller.id)
        await caller.plane.report(process_id, "succeeded")


async def test_a_snapshot_is_shown_with_its_process_and_its_figures(plane: ControlPlane) -> None:
    acme = await make_tenant(plane, "acme")
    await published(acme, "e-1", "v1")
    (listed,) = (await acme.get("/v1/snapshots")).json()["snapshots"]
    assert listed == (await acme.get("/v1/snapshots/e-1/v1/raw")).json()
    process = (await acme.get(f"/v1/processes/{listed['process_id']}")).json()
    assert listed["artifact"] == process["snapshot"]
    assert (listed["artifact"]["rows"], listed["retired_at"]) == (3, None)


async def test_pages_and_filters(plane: ControlPlane) -> None:
    acme = await make_tenant(plane, "acme")
    await published(acme, "e-1", "v1", "v2", "v3")
    await published(acme, "e-2", "v1")
    found, query = [], "?limit=3"
    while query:
        page = (await acme.get(f"/v1/snapshots{query}")).json()
        found += [(each["entity_id"], each["data_version"]) for each in page["snapshots"]]
        query = page["next_cursor"] and f"?limit=3&cursor={page['next_cursor']}"
    assert found == [("e-1", "v1"), ("e-1", "v2"), ("e-1", "v3"), ("e-2", "v1")]
    only = (await acme.get("/v1/snapshots?data_version=v1&entity_id=e-2")).json()["snapshots"]
    assert [each["entity_id"] for each in only] == ["e-2"]
    for wrong in ("cursor=no", "cursor=AAAA", "limit=0", "entity_id=../x", "order=rows"):
        assert (await acme.get(f"/v1/snapshots?{wrong}")).json()["code"] == "validation_failed"


def with_registering() -> dict[str, Any]:
    """Return a catalogue whose ``ingest`` makes its dataset of one delivery."""
    changed = deepcopy(CATALOGUE)
    changed["actions"][0] |= {"registers": True, "params_schema": SourceParams.model_json_schema()}
    return changed


@pytest.mark.parametrize("source", [None, "s3://landing/acme-1/today/", "s3://partner/acme/x/"])
async def test_files_from_outside_become_a_process_of_the_action_that_makes_the_dataset(
    plane: ControlPlane, source: str | None
) -> None:
    await plane.publish(with_registering())
    acme = await make_tenant(plane, "acme")
    body = {"entity_id": "acme-1", "data_version": "v1", "dataset": "raw"} | ({"source": source} if source else {})
    answer = await plane.post("/v1/snapshots", {**acme.headers, "Idempotency-Key": "once"}, body)
    again = await plane.post("/v1/snapshots", {**acme.headers, "Idempotency-Key": "once"}, body)
    assert (answer.status_code, again.json()) == (202, answer.json())
    process = (await acme.get(answer.headers["Location"])).json()
    assert (process["action"], process["dataset"], process["state"]) == ("ingest", "raw", "accepted")
    asked = (await plane.process(UUID(process["process_id"])))["request"]
    assert asked.get("params", {}) == ({"source": source} if source else {})
    await plane.publish(CATALOGUE)
    kept = await plane.post("/v1/snapshots", {**acme.headers, "Idempotency-Key": "once"}, body)
    assert (kept.status_code, kept.json()) == (202, answer.json())
    await plane.publish(with_registering())
    taken = await acme.post("/v1/snapshots", body)
    assert (taken.status_code, taken.json()["code"]) == (409, "process_active")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": "s3://landing/acme-2/"}, "source_forbidden"),
        ({"source": "s3://lake/acme-1/"}, "source_forbidden"),
        ({"source": "s3://partner/globex/"}, "source_forbidden"),
        ({"source": "s3://partner/acme"}, "validation_failed"),
        ({"source": "s3://landing/acme-1/../acme-2/"}, "validation_failed"),
        ({"source": "s3://landing/acme-1/*/"}, "validation_failed"),
        ({"source": "file:///etc/"}, "validation_failed"),
        ({"dataset": "fine"}, "unknown_action"),
        ({"dataset": "nothing"}, "unknown_action"),
        ({"params": {}}, "validation_failed"),
    ],
)
async def test_nothing_else_is_registered(plane: ControlPlane, changes: dict[str, Any], code: str) -> None:
    await plane.publish(with_registering())
    acme = await make_tenant(plane, "acme")
    body = {"entity_id": "acme-1", "data_version": "v1", "dataset": "raw"}
    refused = await acme.post("/v1/snapshots", body | changes)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    if "source" in changes:  # by the action's name it is no other way
        by_name = await acme.submit("acme-1", params={"source": changes["source"]})
        assert (by_name.status_code, by_name.json()["code"]) == (422, code)


@pytest.mark.parametrize(("readers", "sees"), [((), False), (("globex",), True), (("*",), True)])
async def test_others_see_what_is_shared_with_them_but_not_by_whom_it_was_made(
    plane: ControlPlane, readers: tuple[str, ...], sees: bool
) -> None:
    acme, globex = await make_tenant(plane, "acme"), await make_tenant(plane, "globex")
    await published(acme, "rates", "v1")
    async with plane.db.transaction() as conn:
        await tenants.share(conn, "rates", readers, "test")
    listed = (await globex.get("/v1/snapshots")).json()["snapshots"]
    one = await globex.get("/v1/snapshots/rates/v1/raw")
    if sees:
        assert [each["process_id"] for each in listed] == [None]
        assert one.json()["artifact"]["rows"] == 3
    else:
        absent = await globex.get("/v1/snapshots/rates/v2/raw")
        assert (listed, one.status_code, one.content) == ([], 404, absent.content)
