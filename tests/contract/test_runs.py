"""One behaviour for the reader of Dagster's runs, whatever it reads: the fake, and a storage that Dagster wrote."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID, uuid4

import dagster as dg
import pytest
from pydantic import SecretStr

from contracts.intake import LAUNCH_TAG
from contracts.views import RunStatus
from resources.dagster.runs import OVER, DagsterRuns, DagsterRunsUnavailableError, RunState
from tests.fake_dagster import FakeRuns
from tests.integration.postgres import BIN

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UI = "http://127.0.0.1:8401"
EVENTS = {
    RunState.STARTED: dg.DagsterEventType.RUN_START,
    RunState.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
    RunState.FAILURE: dg.DagsterEventType.RUN_FAILURE,
    RunState.CANCELED: dg.DagsterEventType.RUN_CANCELED,
}


class World(Protocol):
    """The reader, and what Dagster does behind it."""

    @property
    def runs(self) -> "FakeRuns | DagsterRuns": ...
    def add(self, launch_id: UUID, state: RunState, ended_at: datetime = NOON) -> str:
        """Let a launch become a run, which ends at ``ended_at`` if its state is one that a run ends in."""

    def take_away(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.runs = FakeRuns()

    def add(self, launch_id: UUID, state: RunState, ended_at: datetime = NOON) -> str:
        run_id = str(uuid4())
        self.runs.add(launch_id, state, run_id, ended_at=ended_at if state in OVER else None)
        return run_id

    def take_away(self) -> None:
        self.runs.is_away = True


class DagsterWorld:
    def __init__(self, instance: dg.DagsterInstance, url: str) -> None:
        self.runs = DagsterRuns(SecretStr(url), UI)
        self._instance = instance
        self._away = DagsterRuns(SecretStr("postgresql+asyncpg://reader@127.0.0.1:1/none"), UI)

    def add(self, launch_id: UUID, state: RunState, ended_at: datetime = NOON) -> str:
        run_id = str(uuid4())
        self._instance.add_run(dg.DagsterRun("job", run_id=run_id, tags={LAUNCH_TAG: str(launch_id)}))
        if state is not RunState.NOT_STARTED:
            self._tell(run_id, RunState.STARTED, ended_at - timedelta(seconds=1))
        if state in OVER:
            self._tell(run_id, state, ended_at)
        return run_id

    def _tell(self, run_id: str, state: RunState, at: datetime) -> None:
        event = dg.DagsterEvent(event_type_value=EVENTS[state].value, job_name="job")
        self._instance.run_storage.handle_run_event(run_id, event, at)

    def take_away(self) -> None:
        self.runs, self._away = self._away, self.runs

    async def close(self) -> None:
        await self.runs.close()
        await self._away.close()


@pytest.fixture(scope="module")
def dagster_storage(
    postgres_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dg.DagsterInstance, str]]:
    """An instance of the real Dagster, and the address of its storage."""
    user, _, place = postgres_address.partition("@")
    host, _, port = place.partition(":")
    admin = ["-h", host, "-p", port, "-U", user]
    name = f"dagster_{uuid4().hex}"
    subprocess.run([str(BIN / "createdb"), *admin, name], check=True)
    home = tmp_path_factory.mktemp("dagster_home")
    storage = f"storage:\n  postgres:\n    postgres_url: postgresql://{postgres_address}/{name}\n"
    (home / "dagster.yaml").write_text(f"{storage}telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance, f"postgresql+asyncpg://{postgres_address}/{name}"
    subprocess.run([str(BIN / "dropdb"), *admin, "--force", name], check=True)


@pytest.fixture
async def dagster_world(dagster_storage: tuple[dg.DagsterInstance, str]) -> AsyncIterator[DagsterWorld]:
    made = DagsterWorld(*dagster_storage)
    yield made
    await made.close()


@pytest.fixture(params=["fake", "dagster"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = FakeWorld() if request.param == "fake" else request.getfixturevalue("dagster_world")
    return made


async def of_launch(world: World, launch_id: UUID) -> RunStatus:
    return (await world.runs.runs_of_launches([launch_id]))[launch_id]


async def test_a_launch_is_found_by_its_run_and_an_unknown_one_is_left_out(world: World) -> None:
    first, second = uuid4(), uuid4()
    expected = {first: world.add(first, RunState.SUCCESS), second: world.add(second, RunState.STARTED)}
    found = await world.runs.runs_of_launches([first, second, uuid4()])
    assert {launch_id: run.run_id for launch_id, run in found.items()} == expected
    assert await world.runs.runs_of_launches([]) == {}


@pytest.mark.parametrize("state", [RunState.NOT_STARTED, *EVENTS])
async def test_a_run_has_the_times_of_its_state(world: World, state: RunState) -> None:
    launch_id = uuid4()
    world.add(launch_id, state)
    run = await of_launch(world, launch_id)
    assert (run.status, run.ended_at) == (state, NOON if state in OVER else None)
    assert (run.started_at is not None) == (state is not RunState.NOT_STARTED)
    assert run.started_at is None or run.ended_at is None or run.started_at <= run.ended_at


async def test_of_a_launchs_runs_the_newest_that_has_begun_counts(world: World) -> None:
    launch_id = uuid4()
    world.add(launch_id, RunState.FAILURE)
    newest = world.add(launch_id, RunState.SUCCESS)
    world.add(launch_id, RunState.NOT_STARTED)
    assert (await of_launch(world, launch_id)).run_id == newest


async def test_all_runs_of_a_launch_are_read_last_the_one_that_counts(world: World) -> None:
    repeated, once = uuid4(), uuid4()
    dead = world.add(repeated, RunState.FAILURE)
    newest = world.add(repeated, RunState.SUCCESS)
    waiting = world.add(repeated, RunState.NOT_STARTED)
    expected = {repeated: [waiting, dead, newest], once: [world.add(once, RunState.STARTED)]}
    found = await world.runs.all_runs_of_launches([repeated, once, uuid4()])
    assert {launch_id: [run.run_id for run in runs] for launch_id, runs in found.items()} == expected
    assert await world.runs.all_runs_of_launches([]) == {}


async def test_a_run_is_found_by_its_own_id(world: World) -> None:
    launch_id = uuid4()
    dead, alive = world.add(launch_id, RunState.FAILURE), world.add(launch_id, RunState.STARTED)
    found = await world.runs.runs_of_ids([dead, alive, "no such run"])
    assert {run_id: run.status for run_id, run in found.items()} == {dead: "FAILURE", alive: "STARTED"}
    assert found[alive] == await of_launch(world, launch_id)
    assert await world.runs.runs_of_ids([]) == {}


async def test_the_dead_are_those_that_ended_after_the_moment_newest_first(world: World) -> None:
    launch_id, second = uuid4(), timedelta(seconds=1)
    world.add(launch_id, RunState.FAILURE, NOON - second)
    world.add(launch_id, RunState.CANCELED, NOON)  # not after the moment
    failed = world.add(launch_id, RunState.FAILURE, NOON + second)
    cancelled = world.add(launch_id, RunState.CANCELED, NOON + 2 * second)
    world.add(launch_id, RunState.SUCCESS, NOON + second)
    world.add(launch_id, RunState.STARTED, NOON + second)
    dead = [run.run_id for launch, run in await world.runs.dead_since(NOON) if launch == launch_id]
    assert dead == [cancelled, failed]
    later = await world.runs.dead_since(NOON + 2 * second)
    assert launch_id not in {launch for launch, _ in later}


async def test_a_storage_that_is_away_is_said_to_be(world: World) -> None:
    launch_id = uuid4()
    run_id = world.add(launch_id, RunState.STARTED)
    world.take_away()
    with pytest.raises(DagsterRunsUnavailableError):
        await world.runs.runs_of_launches([launch_id])
    with pytest.raises(DagsterRunsUnavailableError):
        await world.runs.all_runs_of_launches([launch_id])
    with pytest.raises(DagsterRunsUnavailableError):
        await world.runs.runs_of_ids([run_id])
    with pytest.raises(DagsterRunsUnavailableError):
        await world.runs.dead_since(NOON)
