"""The control plane works by a role with the rights that the doctor asks for, and each of them is of use."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event, func, update

from cli.doctor.postgres import RIGHTS
from contracts.identity import new_token
from contracts.intake import LogPosition, LogRecord, Verdict
from contracts.storage import tombstone_key
from contracts.tenancy import DEFAULT_TENANT, Tenant
from control.accepting.inputs import InputCheck
from control.backfills.expansion import Expander
from control.log.direct_records import DirectRecords
from control.log.redriving import Redriver
from control.migrate import migrate
from control.reconciling.materializations import report_lost_materializations
from control.reconciling.reconciler import Reconciler
from control.recovery.rebuild import Rebuilder
from control.releasing.release import release_once
from control.releasing.watch import ReleaseWatch
from control.retention import Pruner
from control.tables import processes
from control.tenancy import keys, tenants
from control.tenancy.admin_log import newest
from resources.callbacks.networks import parse_networks
from resources.callbacks.sender import GuardedSender
from resources.database import Database
from tests.fake_dagster import FakeGraphQL, FakeRuns
from tests.integration.callbacks.deliveries import deliver_due
from tests.integration.control_plane import TOPIC, TOPIC_ID, ControlPlane
from tests.integration.memory_lake import place, tombstone
from tests.integration.test_doctor_postgres import as_role, grants, psql, run
from tests.memory_log import MemoryLog
from tests.receiver import answering, receiver

pytestmark = pytest.mark.anyio
_NEEDS = {
    "SELECT": r"(?<!DELETE )\b(?:FROM|JOIN) (\w+)",
    "INSERT": r"\bINSERT INTO (\w+)",
    "UPDATE": r"\bUPDATE (\w+) SET|\bINSERT INTO (\w+) .*\bDO UPDATE",
    "DELETE": r"\bDELETE FROM (\w+)",
}


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that this process has sent."""
    sent: list[str] = []

    def keep(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", keep)
    yield sent
    event.remove(Engine, "before_cursor_execute", keep)


@pytest.fixture
def database_url(database_url: SecretStr, postgres_address: str, statements: list[str]) -> Iterator[SecretStr]:
    """The fixture of that name, by a role that may what it must and has made the tenant."""
    role, url = f"narrow_{uuid4().hex}", database_url
    run(url, f"CREATE ROLE {role} LOGIN; {grants(role)}")
    run(url, "DELETE FROM tenants")
    statements.clear()
    asyncio.run(_migrated(as_role(url, role)))
    yield as_role(url, role)
    run(url, f"DROP OWNED BY {role}")
    psql(postgres_address, "postgres", f"DROP ROLE {role}")


async def _migrated(url: SecretStr) -> None:
    db = Database(url)
    await migrate(db)
    await db.close()


def used(statements: list[str]) -> dict[str, set[str]]:
    """Return the rights that these statements need, by table; tests read what they like of them."""
    found: dict[str, set[str]] = {table: set() for table in RIGHTS}
    for right, pattern in _NEEDS.items():
        for statement in statements:
            for names in re.finditer(pattern, statement):
                for table in filter(None, names.groups()):
                    found.get(table, set()).add(right)
    return found


async def test_these_rights_suffice_and_none_is_too_many(plane: ControlPlane, statements: list[str]) -> None:
    db, settings = plane.db, plane.settings
    log, runs, told = MemoryLog(partitions=1), FakeRuns(), FakeGraphQL()
    log.topic_id = TOPIC_ID
    sender = GuardedSender(parse_networks(settings.callback_allow))
    reconciler = Reconciler(db, plane.lake, runs, settings)

    async with receiver(answering("200 OK")) as hooks:
        key = {"Idempotency-Key": "one"}
        first, again = [await plane.submit(key, callback_url=hooks.url) for _ in range(2)]
        assert (first.status_code, again.json()) == (202, first.json())
        joined = await plane.submit(query="?on_conflict=use_existing", callback_url=f"{hooks.url}/too")
        assert joined.status_code == 200, joined.text
        process_id = await plane.accepted(data_version="v2", callback_url=hooks.url)
        await ReleaseWatch(db, settings.max_in_flight).look()
        assert await release_once(db, log, settings) == 2
        await _lose_the_records(plane)
        assert await reconciler.reconcile() == 2
        assert await release_once(db, log, settings) == 2

        plane.offset = 4
        launch_id = await plane.relaunched(process_id)
        assert await plane.relaunched(process_id) == launch_id
        assert (await plane.report(process_id, "started")).status_code == 200
        assert (await plane.failed(process_id, "out_of_memory")).status_code == 200
        runs.add(await _second_attempt_commits(plane, process_id), "FAILURE")
        assert await deliver_due(db, sender, settings) == 1
        assert len(hooks.requests) == 1
    assert await report_lost_materializations(db, runs, told) == 1
    assert (await plane.submit(action="refine", data_version="v2", params={"day": "d"})).status_code == 202
    shown = (await plane.get(f"/v1/processes/{process_id}")).json()
    assert (shown["state"], shown["callback"]["state"]) == ("succeeded", "delivered")
    await _redrive(plane)
    await _backfill(plane)
    await _administer(plane)
    await _recover(plane)
    async with db.transaction() as conn:
        await conn.execute(update(processes).values(finished_at=func.now() - timedelta(days=100)))
    assert await Pruner(db, settings, runs, told).step() > 0
    await _revoke(plane)
    assert used(statements) == {table: set(rights) for table, rights in RIGHTS.items()}


async def _lose_the_records(plane: ControlPlane) -> None:
    """Let the sensor pass both records unseen, tell of a gap, and meet a tombstone."""
    persisted = {"topics": {TOPIC: {"topic_id": TOPIC_ID, "next_offsets": {"0": 9}}}}
    gap = {"topic": TOPIC, "topic_id": TOPIC_ID, "partition": 0, "expected": 9, "found": 2}
    plane.offset = 2
    (dead,) = await plane.take(None, persisted=persisted, gaps=[gap])
    assert dead["verdict"] == "dead"


async def _second_attempt_commits(plane: ControlPlane, process_id: UUID) -> UUID:
    launch_id = UUID(await plane.relaunched(process_id))
    report = partial(plane.report, process_id, attempt=2, run_id="run-2")
    assert (await report("started")).status_code == 200
    assert (await report("committing", token=new_token(str(process_id), 2))).status_code == 200
    plane.lake.commit(place(data_version="v2"), process_id, 2)
    assert (await report("succeeded")).status_code == 200
    return launch_id


async def _redrive(plane: ControlPlane) -> None:
    """Refuse a record of a direct topic, and accept it once it may be."""
    plane.settings.direct_topics["direct"] = DEFAULT_TENANT
    where = LogPosition(topic_id="direct-id", partition=0, offset=0)
    value = b'{"entity_id": "late", "data_version": "v1", "action": "refine", "params": {"day": "d"}}'
    record = LogRecord(topic="direct", position=where, value=value)
    inputs = InputCheck(plane.db, plane.lake)
    answers = await DirectRecords(plane.db, inputs, plane.settings).judge([record])
    assert answers[where].verdict is Verdict.DEAD, answers
    plane.lake.commit(place(entity_id="late"), None)
    redriven = await Redriver(plane.db, inputs, plane.settings, "test").redrive(where)
    assert redriven.is_done, redriven


async def _backfill(plane: ControlPlane) -> None:
    asked = {"action": "ingest", "data_version": "v9", "select": {"entities": ["b-1"]}}
    assert (await plane.post("/v1/backfills", body=asked)).status_code == 201
    inputs = InputCheck(plane.db, plane.lake)
    assert await Expander(plane.db, plane.lake, inputs, plane.settings).step() == 1


async def _administer(plane: ControlPlane) -> None:
    async with plane.db.transaction() as conn:
        await tenants.create(conn, Tenant(id="other"), "test")
        await tenants.change(conn, Tenant(id="other", entity_pattern="o-*"), "test")
        await tenants.give(conn, "o-1", "other", "test")
        await tenants.share(conn, "o-1", ["*"], "test")
        assert len(await newest(conn, 4)) == 4


async def _recover(plane: ControlPlane) -> None:
    async def no_wait(_: float) -> None:
        return

    stone = tombstone(place(entity_id="o-2"))
    plane.lake.put(tombstone_key(stone.coordinate), stone.encode())
    found = await Rebuilder(plane.db, plane.lake, plane.settings, "test", wait=no_wait).rebuild()
    assert (found.is_well, found.snapshots, found.retired) == (True, 2, 1)


async def _revoke(plane: ControlPlane) -> None:
    async with plane.db.transaction() as conn:
        (key,) = await keys.listing(conn)
        await keys.revoke(conn, key["prefix"])
    assert (await plane.get("/v1/processes")).status_code == 401
