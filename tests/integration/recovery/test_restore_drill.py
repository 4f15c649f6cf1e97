"""The restore drill: a base backup of a working PostgreSQL, much that happens after it, a crash, a restore, a rebuild.

Each entity is one story, named for what has become of it when the backup is taken, or afterwards. What the lake and the
receiver have seen is kept outside the database: against that the restored control plane is held.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from api.app import create_app
from contracts.callbacks import webhook_id
from contracts.cursor import Cursor
from contracts.states import State
from contracts.storage import commit_key
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.log.tables import dead_letters
from control.migrate import migrate
from control.reconciling.reconciler import Reconciler
from control.recovery.findings import Findings
from control.recovery.rebuild import Rebuilder
from control.tables import snapshots
from control.tenancy import keys
from resources.database import Database
from resources.lake.store import PresignedPut, PutOutcome
from resources.settings import ControlSettings, LakeSettings
from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import place
from tests.integration.postgres import BIN, USER, cluster
from tests.integration.recovery.drill import Drill
from tests.integration.store_lake import StoreLake
from tests.receiver import answering, receiver

pytestmark = pytest.mark.anyio
PUBLISHED_BEFORE = ("told", "untold", "retired")
RUNNING = ("running", "zombie", "dead", "brief")
PUBLISHED_AFTER = ("running", "waiting", "brief", "late")
TO_BE_DONE = ("dead", "handed", "open")
"""What the restored control plane has to compute: nothing else may be."""


@pytest.fixture
async def drill(store: LakeSettings) -> AsyncIterator[Drill]:
    lake = StoreLake(store)
    with cluster() as server:
        host = ["-h", "127.0.0.1", "-p", str(server.port), "-U", USER]
        subprocess.run([str(BIN / "createdb"), *host, "drill"], check=True)  # noqa: ASYNC221 - nothing else runs yet
        settings = ControlSettings(
            database_url=SecretStr(f"postgresql+asyncpg://{server.address}/drill"),
            internal_secret=SecretStr(INTERNAL_SECRET),
            callback_allow=("127.0.0.0/8",),
            permit_seconds=5,
            clock_skew_seconds=0,
        )
        db = Database(settings.database_url)
        await migrate(db)
        async with db.transaction() as conn:
            key = (await keys.create(conn, DEFAULT_TENANT, list(Scope))).get_secret_value()
        app = create_app(settings=settings, db=db, lake=lake)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api") as http,
            receiver(answering("200 OK")) as hooks,
        ):
            plane = ControlPlane(http, db, lake, settings, key)
            assert (await plane.publish()).status_code == 204
            yield Drill(server, plane, lake, hooks)
        await db.close()


async def until_backed_up(drill: Drill) -> None:
    """Bring every story to where the backup finds it, and take the backup."""
    await drill.submit(*PUBLISHED_BEFORE, *RUNNING)
    await drill.release()
    await drill.sense()
    await drill.start(*PUBLISHED_BEFORE, *RUNNING)
    await drill.publish("told", "retired")
    await drill.call_back()
    await drill.publish("untold")
    await drill.submit("handed")
    await drill.release()
    await drill.submit("waiting", "open")
    await asyncio.to_thread(drill.cluster.back_up)


async def until_the_crash(drill: Drill) -> tuple[PresignedPut, PresignedPut]:
    """Let everything go on, until the server dies; return two commits that were permitted and not sent yet."""
    await drill.call_back()
    assert await drill.release() == 2
    assert await drill.sense() == dict.fromkeys(("handed", "waiting", "open"), "launch")
    await drill.start("waiting", "handed")
    await drill.submit("late")
    await drill.release()
    await drill.sense()
    await drill.start("late")
    await drill.publish(*PUBLISHED_AFTER)
    await drill.call_back()
    await drill.retire("retired", "brief")
    await drill.submit("lost")
    await drill.release()
    for name in ("zombie", "dead"):
        assert (await drill.permit(name)).status_code == 200
    zombie, dead = (drill.lake.presign_commit(commit_key(place(entity_id=name)), 60) for name in ("zombie", "dead"))
    await asyncio.to_thread(drill.cluster.stop, signal.SIGQUIT)
    return zombie, dead


async def rebuilt(drill: Drill, zombie: PresignedPut) -> Findings:
    """Rebuild; a run that the lost database had permitted to commit does so meanwhile."""
    _, body = drill.lake.write(place(entity_id="zombie"), drill.ids["zombie"])

    async def wait(seconds: float) -> None:
        assert 0 < seconds <= 5 + 10
        refused = await drill.plane.submit(entity_id="late")
        assert (refused.status_code, refused.json()["code"]) == (503, "recovering")
        assert zombie.send(body) is PutOutcome.CREATED

    return await Rebuilder(drill.db, drill.lake, drill.plane.settings, "cli:operator", wait=wait).rebuild()


async def test_a_restored_database_loses_changes_and_repeats_nothing_that_was_published(drill: Drill) -> None:
    await until_backed_up(drill)
    zombie, dead = await until_the_crash(drill)
    commits, heard = drill.commits(), drill.heard()
    assert heard.keys() == {"told", "retired", "untold", *PUBLISHED_AFTER}
    await asyncio.to_thread(drill.cluster.restore)

    found = await rebuilt(drill, zombie)
    told = (found.snapshots, found.restored, found.retired, found.ended, found.owners)
    assert told == (6, 4, 2, 4, 1)
    assert (found.is_well, len(found.unknown_processes)) == (True, 1)
    await goes_on_with_what_is_left(drill, dead)

    await drill.call_back()
    now = drill.commits()
    assert {name: now[name] for name in commits} == commits
    assert now.keys() == {*commits, "zombie", *TO_BE_DONE}
    indexed = {row["entity_id"]: row for row in await drill.plane.rows(snapshots)}
    assert {name: row["artifact"]["commit_digest"] for name, row in indexed.items() if not row["retired_at"]} == now
    assert {name for name, row in indexed.items() if row["retired_at"]} == {"retired", "brief"}
    states = await drill.states()
    assert (states.pop("late"), states.pop("lost"), set(states.values())) == ("404", "404", {"succeeded"})
    for name, process_id in drill.ids.items():
        if name != "lost":
            expected = {str(webhook_id(process_id, State.SUCCEEDED, drill.hooks.url))}
            assert drill.heard()[name] == expected, name
    for name in now:
        assert (await drill.plane.submit(entity_id=name)).json()["code"] == "version_already_published"
    for name in ("retired", "brief"):
        assert (await drill.plane.submit(entity_id=name)).json()["code"] == "version_retired"


async def goes_on_with_what_is_left(drill: Drill, dead: PresignedPut) -> None:
    """Let worker and sensor go on: only what was never published is launched, and zombies change nothing."""
    newer, sent_before = drill.cursor, drill.log.topic_id
    assert await drill.sense(newer) == {"lost": "dead"}
    drill.runs.add(drill.launches["dead"], "FAILURE", "run-dead-1")
    reconciler = Reconciler(drill.db, drill.lake, drill.runs, drill.plane.settings)
    assert await reconciler.reconcile() == 2  # `handed` is lost behind the cursor, the run of `dead` is over
    assert {name for name, state in (await drill.states()).items() if state == "accepted"} == set(TO_BE_DONE)

    await released(drill, 3)
    again = await drill.sense(Cursor())  # Dagster's storage was restored too, to an older place
    assert {name for name, verdict in again.items() if verdict == "launch"} == set(TO_BE_DONE)
    assert {name for name, verdict in again.items() if verdict == "dead"} == {"late", "lost"}
    assert {row["code"] for row in await drill.plane.rows(select(dead_letters))} == {"unknown_process"}
    assert drill.log.topic_id == sent_before

    assert (await drill.permit("dead")).json()["code"] == "attempt_superseded"
    assert (await drill.report("dead", "started", 2)).status_code == 200
    await permitted(drill, "dead", 2)
    await drill.publish("dead", attempt=2)
    await drill.start("handed", "open")
    await drill.publish("handed", "open")
    assert dead.send(b"late") in {PutOutcome.EXISTS, PutOutcome.EXPIRED}
    assert (await drill.permit("running")).json()["code"] == "attempt_superseded"
    assert (await drill.permit("late")).status_code == 404


async def released(drill: Drill, count: int) -> None:
    """Release until so many have been: the next attempt waits for its time."""
    deadline = time.monotonic() + 30
    while count > 0:
        count -= await drill.release()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def permitted(drill: Drill, name: str, attempt: int) -> None:
    """Ask until there is a permit: the rebuild supposes that a forgotten one lives."""
    deadline = time.monotonic() + 30
    while (answer := await drill.permit(name, attempt)).status_code != 200:
        assert answer.json()["code"] == "permit_held"
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
