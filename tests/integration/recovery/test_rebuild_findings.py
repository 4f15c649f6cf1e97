"""What a rebuild finds in a real store: what it cannot read, whom it does not know, whose each entity is."""

from threading import Lock
from uuid import uuid4

import pytest
from sqlalchemy import delete, select, text

from contracts.identity import Coordinate
from contracts.storage import commit_key, tombstone_key
from contracts.tenancy import Tenant
from control.recovery.lake_pass import READS_AT_ONCE
from control.recovery.tables import recovery
from control.tables import entities, snapshots
from control.tables import tenants as tenant_rows
from control.tenancy import tenants
from resources.settings import LakeSettings
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place, tombstone
from tests.integration.recovery.rebuilding import published, rebuild
from tests.integration.store_lake import StoreLake
from tests.integration.tenant import make_tenant

pytestmark = pytest.mark.anyio


async def test_what_cannot_be_read_or_found_is_told_and_stops_nothing(plane: ControlPlane, lake: StoreLake) -> None:
    good, bad, lost, half = (place(entity_id=name) for name in ("good", "bad", "lost", "half"))
    for each in (good, bad, lost, half):
        lake.commit(each, uuid4())
    await rebuild(plane, lake)
    lake.put(commit_key(bad), b"{}")
    lake.put(tombstone_key(good), b"{}")
    lake.delete([commit_key(lost)])
    lake.put(tombstone_key(half), tombstone(half).encode())
    found = await rebuild(plane, lake)
    assert [line.split(":")[0] for line in sorted(found.corrupt)] == [str(bad), str(good)]
    assert (found.missing, found.unfinished, found.is_well, found.is_over) == ([str(lost)], [str(half)], False, True)
    assert (await plane.submit(entity_id="lost")).json()["code"] == "version_already_published"
    assert (await plane.submit(entity_id="half")).json()["code"] == "version_retired"


async def test_a_tenant_that_the_database_does_not_know_is_not_invented(plane: ControlPlane, lake: StoreLake) -> None:
    acme = await make_tenant(plane, "acme")
    await published(acme, "a-1")
    await published(acme, "a-2")
    async with plane.db.transaction() as conn:  # as if the backup were older than the tenant
        for table in ("api_keys", "process_events", "outbox", "launches", "deliveries", "processes", "entities"):
            await conn.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of our own tables
        await conn.execute(delete(snapshots))
        await conn.execute(text("DELETE FROM tenants WHERE id = 'acme'"))
    found = await rebuild(plane, lake)
    assert (found.unknown_tenants, found.is_over, found.is_well) == ({"acme": ["a-1", "a-2"]}, False, False)
    assert len(found.unknown_processes) == 2
    assert len(await plane.rows(recovery)) == 1
    assert [row["id"] for row in await plane.rows(select(tenant_rows))] == ["default"]
    async with plane.db.transaction() as conn:
        await tenants.create(conn, Tenant(id="acme"), "cli:operator")
    found = await rebuild(plane, lake)
    assert (found.is_well, found.owners, await plane.rows(recovery)) == (True, 2, [])


async def test_the_newest_commit_says_whose_it_is_unless_it_was_given(plane: ControlPlane, lake: StoreLake) -> None:
    for name in ("acme", "globex", "initech"):
        await make_tenant(plane, name)
    lake.commit(place(entity_id="moved", data_version="v1"), uuid4(), tenant="globex")
    lake.commit(place(entity_id="moved", data_version="v0"), uuid4(), tenant="acme")
    lake.commit(place(entity_id="given"), uuid4(), tenant="acme")
    async with plane.db.transaction() as conn:
        await tenants.give(conn, "given", "initech", "test")
    found = await rebuild(plane, lake)
    owners = {row["entity_id"]: row["tenant_id"] for row in await plane.rows(entities)}
    assert owners == {"moved": "acme", "given": "initech"}
    assert (len(found.other_owners), found.is_well) == (1, True)


class CountingLake(StoreLake):
    """Knows how many reads were under way at once, at most."""

    def __init__(self, store: LakeSettings) -> None:
        super().__init__(store)
        self.lock, self.now, self.most = Lock(), 0, 0

    def get(self, key: str) -> bytes | None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return super().get(key)
        finally:
            with self.lock:
                self.now -= 1


async def test_it_reads_many_side_by_side_but_not_all(plane: ControlPlane, store: LakeSettings) -> None:
    lake, count = CountingLake(store), 200
    for number in range(count):
        lake.commit(Coordinate(f"{number % 10}-{number}", "v1", "raw"), uuid4())
    found = await rebuild(plane, lake)
    assert (found.snapshots, found.restored, found.owners) == (count, count, count)
    assert 1 < lake.most <= READS_AT_ONCE
