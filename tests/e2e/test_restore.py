"""The whole stack over a PostgreSQL that crashes and is restored: Dagster's storage goes back in time with ours."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cli.client import ApiError
from contracts.identity import Coordinate
from contracts.states import State
from contracts.storage import commit_key
from deploy.local.postgres import binaries, unprivileged
from tests.e2e.world import RUN_SECONDS, World, wait_for

LAKEMILL = str(Path(sys.executable).parent / "lakemill")


def back_up(world: World) -> Path:
    """Take a base backup of the running server; return its folder."""
    folder = world.stack.state_dir / "postgres" / "backup"
    host, _, port = world.stack.ports.address("postgres").partition(":")
    where = ["-h", host, "-p", port, "-U", "postgres", "-D", str(folder), "-c", "fast", "-X", "stream"]
    env = os.environ | {"PGPASSWORD": world.stack.env()["LAKEMILL_SUPERUSER_PASSWORD"]}
    subprocess.run([*unprivileged(), str(binaries() / "pg_basebackup"), *where], env=env, cwd="/", check=True)
    return folder


def restore(world: World, backup: Path) -> None:
    """Let the server die, and put the backup in the place of its files; start its clients anew, but the worker.

    The daemon goes first: a tick that began before would write its cursor into the restored database.
    """
    for name, how in (("worker", signal.SIGKILL), ("daemon", signal.SIGKILL), ("postgres", signal.SIGQUIT)):
        world.stack.kill(name, how)
        world.stack.wait_dead(name, 30)
    data = backup.parent / "data"
    shutil.rmtree(data)
    backup.rename(data)
    for name in ("postgres", "webserver", "daemon", "api"):
        world.stack.restart(name)


def rebuild(world: World) -> dict[str, Any]:
    bounds = {
        "LAKEMILL_PERMIT_SECONDS": str(world.settings.permit_seconds),
        "LAKEMILL_CLOCK_SKEW_SECONDS": str(world.settings.clock_skew_seconds),
    }
    command, env = [LAKEMILL, "snapshots", "rebuild", "--json"], os.environ | world.stack.env() | bounds
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_restored_stack_goes_on_and_repeats_nothing(world: World) -> None:
    before, during, after = (world.land_flights() for _ in range(3))
    told = world.submit(before)
    world.finish(told)
    world.arm("P1", "stop")
    active = world.submit(during)
    run = world.hit("P1")
    backup = back_up(world)  # `active` runs, and has its permit

    world.resume(run)
    world.finish(active)
    forgotten = world.submit(after)
    world.finish(forgotten)
    commits = {place: world.lake.get(commit_key(place)) for place in (before, during, after)}

    restore(world, backup)
    assert world.client.process(active)["state"] == State.RUNNING
    found = rebuild(world)
    assert (found["is_over"], found["restored"], found["ended"]) == (True, 2, 1)
    assert found["unknown_processes"] == [f"{after}: process {forgotten}"]
    world.stack.restart("worker")

    assert world.client.process(active)["state"] == State.SUCCEEDED
    with pytest.raises(ApiError) as unknown:
        world.client.process(forgotten)
    assert unknown.value.code == "not_found"
    statement = "SELECT value FROM dead_letters WHERE code = 'unknown_process' AND value IS NOT NULL"
    wait_for("Dagster reads again what it had read", lambda: _names(world, statement, forgotten), 120)

    fresh = world.land_flights()
    assert world.finish(world.submit(fresh), seconds=2 * RUN_SECONDS)["state"] == State.SUCCEEDED
    for place, commit in commits.items():
        assert world.lake.get(commit_key(place)) == commit
        assert len(world.token_folders(place)) == 1, "computed once"
        _refused(world, place)
    for process_id, place in ((told, before), (active, during)):
        wait_for("its callback is delivered", partial(_delivered, world, process_id), 60)
        world.assert_one_outcome(process_id, place)
        assert world.callback_of(process_id) is not None


def _names(world: World, statement: str, process_id: str) -> bool:
    return any(process_id.encode() in row["value"] for row in world.rows(statement))


def _delivered(world: World, process_id: str) -> bool:
    statement = "SELECT state FROM deliveries WHERE process_id = :id"
    return [row["state"] for row in world.rows(statement, {"id": UUID(process_id)})] == ["delivered"]


def _refused(world: World, place: Coordinate) -> None:
    with pytest.raises(ApiError) as refused:
        world.submit(place)
    assert refused.value.code == "version_already_published"
