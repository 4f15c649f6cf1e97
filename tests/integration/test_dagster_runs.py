"""Dagster's run storage as the real Dagster writes it, read by a role that may only read."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import dagster as dg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.app import create_app
from contracts.intake import LAUNCH_TAG
from contracts.views import RunStatus
from control.worker import real_ports
from resources.dagster.runs import DagsterRuns, DagsterRunsUnavailableError, RunState
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.memory_lake import MemoryLake
from tests.integration.postgres import BIN

pytestmark = pytest.mark.anyio
UI = "http://127.0.0.1:8401/"
OK, BROKEN, WAITING, REPEATED = (UUID(int=number) for number in range(1, 5))


@dg.op
def works() -> None:
    pass


@dg.op
def breaks() -> None:
    raise RuntimeError("on purpose")


@dg.job
def good() -> None:
    works()


@dg.job
def bad() -> None:
    breaks()


@pytest.fixture(scope="module")
def dagster_url(postgres_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that the real Dagster has written runs to; readable by the role ``reader``."""
    user, _, place = postgres_address.partition("@")
    host, _, port = place.partition(":")
    admin = ["-h", host, "-p", port, "-U", user]
    name = f"dagster_{uuid4().hex}"
    subprocess.run([str(BIN / "createdb"), *admin, name], check=True)
    home = tmp_path_factory.mktemp("dagster_home")
    _write_runs(home, f"postgresql://{postgres_address}/{name}")
    grants = "CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    subprocess.run([str(BIN / "psql"), *admin, "-q", "-d", name, "-c", grants], check=True)
    yield f"postgresql+asyncpg://reader@{place}/{name}"
    subprocess.run([str(BIN / "dropdb"), *admin, "--force", name], check=True)
    subprocess.run([str(BIN / "dropuser"), *admin, "reader"], check=True)


def _write_runs(home: Path, url: str) -> None:
    (home / "dagster.yaml").write_text(
        f"storage:\n  postgres:\n    postgres_url: {url}\ntelemetry:\n  enabled: false\n"
    )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        good.execute_in_process(instance=instance, tags={LAUNCH_TAG: str(OK)})
        bad.execute_in_process(instance=instance, tags={LAUNCH_TAG: str(BROKEN)}, raise_on_error=False)
        good.execute_in_process(instance=instance, tags={LAUNCH_TAG: "typed by hand"})
        instance.create_run_for_job(good, tags={LAUNCH_TAG: str(WAITING)})
        bad.execute_in_process(instance=instance, tags={LAUNCH_TAG: str(REPEATED)}, raise_on_error=False)
        good.execute_in_process(instance=instance, tags={LAUNCH_TAG: str(REPEATED)})
        instance.create_run_for_job(good, tags={LAUNCH_TAG: str(REPEATED)})


@pytest.fixture
async def runs(dagster_url: str) -> AsyncIterator[DagsterRuns]:
    reader = DagsterRuns(SecretStr(dagster_url), UI)
    yield reader
    await reader.close()


async def test_a_finished_run_is_read_with_its_times(runs: DagsterRuns) -> None:
    await runs.check()
    found = await runs.run_of_launch(OK)
    assert found is not None
    assert found.started_at is not None
    assert found.ended_at is not None
    assert datetime.now(UTC) - timedelta(minutes=5) < found.started_at <= found.ended_at <= datetime.now(UTC)
    assert found.status == RunState.SUCCESS
    assert found.url == f"http://127.0.0.1:8401/runs/{found.run_id}"


@pytest.mark.parametrize("ui_url", ["https://dagster.example.com/", ""])
async def test_links_lead_where_people_look(dagster_url: str, ui_url: str) -> None:
    settings = ControlSettings(
        database_url=SecretStr(dagster_url),
        dagster_database_url=SecretStr(dagster_url),
        internal_secret=SecretStr("internal-secret-of-the-tests"),
        dagster_url=UI,
        dagster_ui_url=ui_url,
    )
    app = create_app(settings=settings, lake=MemoryLake())
    async with app.router.lifespan_context(app), real_ports(settings) as ports:
        assert ports.runs is not None
        for reader in (app.state.services.runs, ports.runs):
            found = (await reader.runs_of_launches([OK]))[OK]
            assert found.url == f"{ui_url or UI}runs/{found.run_id}"


async def test_many_launches_are_read_at_once(runs: DagsterRuns) -> None:
    found = await runs.runs_of_launches([OK, BROKEN, WAITING, REPEATED, uuid4()])
    assert {launch: RunState(run.status) for launch, run in found.items()} == {
        OK: RunState.SUCCESS,
        BROKEN: RunState.FAILURE,
        WAITING: RunState.NOT_STARTED,
        REPEATED: RunState.SUCCESS,  # the newest that was started, not the newest
    }
    assert found[WAITING].started_at is None
    assert await runs.runs_of_launches([]) == {}
    assert await runs.run_of_launch(uuid4()) is None


async def test_a_run_is_found_by_its_own_id_whatever_else_its_launch_became(runs: DagsterRuns) -> None:
    dead = dict(await runs.dead_since(datetime.now(UTC) - timedelta(hours=1)))
    newest = await runs.run_of_launch(REPEATED)
    assert newest is not None
    found = await runs.runs_of_ids([dead[REPEATED].run_id, newest.run_id, "no such run"])
    assert found == {dead[REPEATED].run_id: dead[REPEATED], newest.run_id: newest}
    assert (found[newest.run_id].status, dead[REPEATED].status) == (RunState.SUCCESS, RunState.FAILURE)
    assert await runs.runs_of_ids([]) == {}


async def test_the_dead_are_listed_by_their_launch(runs: DagsterRuns) -> None:
    def launches(found: list[tuple[UUID, RunStatus]]) -> set[UUID]:
        return {launch for launch, _ in found}

    assert launches(await runs.dead_since(datetime.now(UTC) - timedelta(hours=1))) == {BROKEN, REPEATED}
    assert launches(await runs.dead_since(datetime.now(UTC) + timedelta(hours=1))) == set()


async def test_the_statuses_are_all_that_dagster_has() -> None:
    assert {status.value for status in dg.DagsterRunStatus} == {state.value for state in RunState}


async def test_an_unknown_schema_makes_runs_unavailable_and_says_so(db: Database, database_url: SecretStr) -> None:
    runs = DagsterRuns(database_url, UI)
    with pytest.raises(DagsterRunsUnavailableError, match="runs"):
        await runs.check()
    columns = "run_id text, status text, create_timestamp timestamp, start_time float, end_time float"
    async with db.transaction() as conn:
        await conn.execute(text(f"create table runs ({columns})"))
        await conn.execute(text("create table run_tags (run_id text, key text)"))
    with pytest.raises(DagsterRunsUnavailableError, match="value"):
        await runs.run_of_launch(OK)
    async with db.transaction() as conn:
        await conn.execute(text("alter table run_tags add column value text"))
    assert await runs.run_of_launch(OK) is None
    await runs.close()


@pytest.mark.parametrize("place", ["127.0.0.1:1/none", "{server}/absent"])
async def test_a_storage_that_is_away_makes_runs_unavailable(postgres_address: str, place: str) -> None:
    server = postgres_address.partition("@")[2]
    runs = DagsterRuns(SecretStr(f"postgresql+asyncpg://reader@{place.format(server=server)}"), UI)
    with pytest.raises(DagsterRunsUnavailableError):
        await runs.run_of_launch(OK)
    await runs.close()
