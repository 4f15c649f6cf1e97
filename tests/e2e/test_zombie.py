"""A run that sleeps through its permit and wakes up when everything has been decided changes nothing."""

import os
import subprocess
import sys

from contracts.states import State
from contracts.storage import commit_key
from tests.e2e.world import RUN_SECONDS, World, wait_for

DECLARE_DEAD = """
import sys
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
with DagsterInstance.get() as instance:
    (run,) = instance.get_runs(RunsFilter(tags={"lakemill/launch_id": sys.argv[1]}))
    assert run.status is DagsterRunStatus.STARTED, run.status
    instance.report_run_failed(run, "declared dead while it was suspended")
"""


def declare_dead(world: World, process_id: str) -> None:
    """Let Dagster believe that the run is dead, as it does when it cannot reach a live pod."""
    launch_id = world.client.process(process_id)["launch_id"]
    env = os.environ | world.stack.dagster_env()
    subprocess.run([sys.executable, "-c", DECLARE_DEAD, launch_id], env=env, check=True)


def test_a_late_commit_is_refused_when_the_next_attempt_has_finished(world: World) -> None:
    target = world.land_flights()
    world.arm("P1", "stop")
    process_id = world.submit(target)
    zombie = world.hit("P1")
    declare_dead(world, process_id)

    process = world.finish(process_id, seconds=2 * RUN_SECONDS)
    assert process["state"] == State.SUCCEEDED
    assert process["attempt"] == 2
    before = world.lake.get(commit_key(target))

    world.resume(zombie)
    wait_for("the zombie has ended", lambda: not lives(zombie), RUN_SECONDS)
    assert world.lake.get(commit_key(target)) == before
    assert world.client.process(process_id)["attempt"] == 2
    world.assert_one_outcome(process_id, target)
    assert len(world.token_folders(target)) == 2


def test_a_late_commit_is_refused_when_the_process_has_expired(world: World) -> None:
    target = world.land_flights()
    world.arm("P1", "stop")
    process_id = world.submit(target)
    zombie = world.hit("P1")
    statement = "UPDATE processes SET deadline_at = now() WHERE id = :id"
    world.rows(statement, {"id": process_id})

    process = world.finish(process_id)
    assert process["state"] == State.EXPIRED
    world.resume(zombie)
    wait_for("the zombie has ended", lambda: not lives(zombie), RUN_SECONDS)
    assert world.lake.get(commit_key(target)) is None
    assert world.client.process(process_id)["state"] == State.EXPIRED
    ends = world.rows("SELECT id FROM deliveries WHERE process_id = :id", {"id": process_id})
    assert len(ends) == 1


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
