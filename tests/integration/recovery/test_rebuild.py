"""Rebuild, over a real database and a real store: what comes back, what ends, and what is refused meanwhile."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from contracts.storage import commit_key, tombstone_key
from control.accepting.inputs import InputCheck
from control.backfills.expansion import Expander
from control.recovery.rebuild import REBUILD_LOCK, RebuildRunningError
from control.recovery.retire import Retirer
from control.recovery.tables import recovery
from control.releasing.release import release_once
from control.tables import deliveries, entities, snapshots
from control.tenancy.tables import admin_log
from resources.lake.store import LakeUnavailableError
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.memory_lake import place, tombstone
from tests.integration.recovery.rebuilding import forget, interrupted, no_wait, published, rebuild, rebuilder
from tests.integration.store_lake import StoreLake
from tests.integration.tenant import make_tenant
from tests.memory_log import MemoryLog

pytestmark = pytest.mark.anyio


async def test_what_is_published_retired_and_owned_comes_back(plane: ControlPlane, lake: StoreLake) -> None:
    acme, globex = await make_tenant(plane, "acme"), await make_tenant(plane, "globex")
    for caller, entity_id, version in (
        (acme, "a-1", "v1"),
        (acme, "a-1", "v2"),
        (acme, "Z", "v1"),
        (globex, "9", "v1"),
    ):
        await published(caller, entity_id, version)
    lake.commit(place(entity_id="by-hand"), None, None, None)
    await Retirer(plane.db, lake, plane.settings, "cli:operator", wait=no_wait).retire(place(entity_id="a-1"))
    assert (await rebuild(plane, lake)).restored == 1  # what an operator's run has not reported
    ordered = select(snapshots).order_by(*snapshots.primary_key.columns)
    owned = select(entities.c.entity_id, entities.c.tenant_id).order_by(entities.c.entity_id)
    before = await plane.rows(ordered), await plane.rows(owned)
    await forget(plane)

    found = await rebuild(plane, lake)

    assert (await plane.rows(ordered), await plane.rows(owned)) == before
    assert (found.is_well, found.snapshots, found.restored, found.retired, found.owners) == (True, 4, 4, 1, 3)
    assert (found.unknown_processes, found.ended) == ([], 0)
    again = await rebuild(plane, lake)
    assert (again.snapshots, again.restored, again.owners, again.retired) == (4, 0, 0, 1)
    assert (await acme.submit("a-1")).json()["code"] == "version_retired"
    assert (await globex.submit("a-1", data_version="v9")).status_code == 404


async def test_meanwhile_nothing_new_begins_and_all_else_goes_on(plane: ControlPlane, lake: StoreLake) -> None:
    failed = await plane.running(data_version="v7")
    await plane.failed(failed, "action_raised")
    running = await plane.running(data_version="v8")
    waiting = await plane.submit({"Idempotency-Key": "k"}, data_version="v9")
    asked = {"action": "ingest", "data_version": "v3", "select": {"entities": ["b-1"]}}
    backfill_id = (await plane.post("/v1/backfills", body=asked)).json()["backfill_id"]
    await interrupted(plane, lake)

    for refused in (
        await plane.submit(),
        await plane.submit(query="?dry_run=true"),
        await plane.submit(query="?on_conflict=use_existing"),
        await plane.post("/v1/processes:batch", body={"processes": [SUBMIT]}),
        await plane.post(f"/v1/processes/{failed}:retry"),
        await plane.post("/v1/backfills", body={**asked, "data_version": "v4"}),
        await plane.post("/v1/backfills?dry_run=true", body=asked),
    ):
        assert (refused.status_code, refused.json()["code"]) == (503, "recovering")
        assert (refused.headers["retry-after"], refused.headers["content-type"]) == ("30", "application/problem+json")
    again = await plane.submit({"Idempotency-Key": "k"}, data_version="v9")
    assert (again.status_code, again.json()) == (202, waiting.json())
    log = MemoryLog(partitions=1)
    assert await release_once(plane.db, log, plane.settings) == 0
    expander = Expander(plane.db, lake, InputCheck(plane.db, lake), plane.settings)
    assert await expander.step() == 0
    shown = (await plane.get(f"/v1/processes/{waiting.json()['process_id']}")).json()
    assert (shown["state"], shown["blocked_by"]["code"]) == ("accepted", "recovering")
    lake.commit(place(data_version="v8"), running)
    assert (await plane.report(running, "succeeded")).status_code == 200
    assert (await plane.process(running))["state"] == "succeeded"
    assert (await plane.get("/readyz")).status_code == 200

    await rebuild(plane, lake)
    assert await release_once(plane.db, log, plane.settings) > 0
    assert await expander.step() == 1
    assert (await plane.get(f"/v1/backfills/{backfill_id}")).json()["refused"] == 0
    assert (await plane.submit()).status_code == 202


async def test_it_outwaits_the_lost_database_once_and_tells_of_each_step(plane: ControlPlane, lake: StoreLake) -> None:
    waits: list[float] = []
    told: list[str] = []
    seen: list[int] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    lake.commit(place(), uuid4())
    await interrupted(plane, lake)
    parts = {"wait": wait, "tell": told.append, "progress": lambda found: seen.append(found.objects)}
    await rebuilder(plane, lake, **parts).rebuild()
    assert len(waits) == 1
    assert 130 < waits[0] <= 120 + 5 + 10
    assert [line.split()[0] for line in told] == ["Recovering", "Waiting", "Reading", "Reading"]
    assert seen[-1] >= len(lake.stored())
    async with plane.db.transaction() as conn:
        await conn.execute(recovery.insert().values(id=1, actor="test", began_at=func.now() - timedelta(hours=1)))
    await rebuilder(plane, lake, **parts).rebuild()
    assert len(waits) == 1
    lines = await plane.rows(select(admin_log).where(admin_log.c.kind.startswith("rebuild")).order_by(admin_log.c.id))
    assert [(line["actor"], line["kind"]) for line in lines] == [
        ("cli:operator", "rebuild_began"),
        ("cli:operator", "rebuild_ended"),
        ("cli:operator", "rebuild_ended"),
    ]
    assert lines[1]["detail"]["snapshots"] == 1


async def test_one_rebuild_at_a_time(plane: ControlPlane, lake: StoreLake) -> None:
    async with plane.db.exclusive(REBUILD_LOCK) as held:
        assert held
        with pytest.raises(RebuildRunningError):
            await rebuild(plane, lake)


async def test_what_the_lake_knows_to_be_over_ends_and_is_told_once(plane: ControlPlane, lake: StoreLake) -> None:
    ours = await plane.accepted(data_version="v1", callback_url="https://hooks.example/in")
    theirs = await plane.accepted(data_version="v2")
    gone = await plane.accepted(data_version="v3", callback_url="https://hooks.example/in")
    open_ = await plane.accepted(data_version="v4")
    lake.commit(place(data_version="v1"), ours)
    lake.commit(place(data_version="v2"), uuid4())
    stone = tombstone(place(data_version="v3"), gone)
    lake.put(tombstone_key(stone.coordinate), stone.encode())

    assert (await rebuild(plane, lake)).ended == 3
    states = {process_id: (await plane.process(process_id))["state"] for process_id in (ours, theirs, gone, open_)}
    assert states == {ours: "succeeded", theirs: "failed", gone: "succeeded", open_: "accepted"}
    assert (await plane.process(gone))["artifact"] == stone.artifact.model_dump(mode="json")
    sent = await plane.rows(deliveries)
    assert {each["process_id"] for each in sent} == {ours, gone}
    assert (await rebuild(plane, lake)).ended == 0
    assert await plane.rows(deliveries) == sent


async def test_nothing_ends_without_success_while_a_forgotten_permit_may_live(
    plane: ControlPlane, lake: StoreLake
) -> None:
    process_id = await plane.running()  # its permit was given by the database that is lost
    zombie = lake.presign_commit(commit_key(place()), 60)
    await interrupted(plane, lake)
    shown = (await plane.cancel(process_id)).json()
    assert (shown["state"], shown["blocked_by"]["code"]) == ("running", "permit_live")
    lake.commit(place(), process_id)  # the zombie's, in time
    await rebuild(plane, lake)
    assert (await plane.process(process_id))["state"] == "succeeded"
    assert zombie.send(b"once more").value == "exists"


async def test_a_lake_that_gives_out_leaves_it_recovering(plane: ControlPlane, lake: StoreLake) -> None:
    lake.commit(place(), uuid4())

    async def goes_down(_: float) -> None:
        lake.is_down = True

    with pytest.raises(LakeUnavailableError):
        await rebuilder(plane, lake, wait=goes_down).rebuild()
    assert (await plane.submit(data_version="v2")).json()["code"] == "recovering"
    lake.is_down = False
    await rebuild(plane, lake)
    assert (await plane.submit(data_version="v2")).status_code == 202
