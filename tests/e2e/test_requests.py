"""What a tenant asks of a process that runs, on the whole stack."""

from contracts.states import State
from tests.e2e.world import RUN_SECONDS, World, wait_for


def test_a_cancelled_process_publishes_nothing_ends_its_run_and_can_be_retried(world: World) -> None:
    target = world.land_flights()
    process_id = world.submit(target)
    wait_for("the process runs", lambda: world.client.process(process_id)["state"] == State.RUNNING, RUN_SECONDS)
    assert world.client.cancel(process_id)["state"] == State.CANCELLED
    assert world.finish(process_id)["reason"] is None
    # Dagster has ended it, or it has stopped at its gate.
    wait_for("its run is over", lambda: world.client.process(process_id)["run"]["ended_at"], RUN_SECONDS)
    assert world.client.process(process_id)["run"]["status"] in {"CANCELED", "FAILURE"}
    assert world.commit(target) is None
    again = str(world.client.retry(process_id)["process_id"])
    process = world.finish(again)
    assert (process["state"], process["retry_of"]) == (State.SUCCEEDED, process_id)
    world.assert_one_outcome(again, target)
