"""What a restore forgets, told step by step: a permit that is still good."""

from functools import partial

import pytest

from contracts.messages import ProcessRequest
from contracts.states import State
from tests.model.decisions import Decisions
from tests.model.deployment import Deployment
from tests.model.rest import come_to_rest
from tests.model.tasks import Task
from tests.model.world import CATALOGUE, TENANTS


@pytest.mark.parametrize(("is_patient", "is_broken"), [(True, False), (False, True)])
def test_a_restored_control_plane_waits_for_the_permits_it_has_forgotten(*, is_patient: bool, is_broken: bool) -> None:
    at = Deployment(Decisions())
    process_id = at.api.submit(
        TENANTS["acme"], ProcessRequest(entity_id="e1", data_version="v1", action=CATALOGUE.name), None
    )
    for what in ("release", "tick"):
        at.loop(what).finish()
    backup = at.world.rows.now.copy()
    run = at.dagster.start(at.queued()[0])
    run.finish(until="P1")
    at.restore(backup, [run], is_patient=is_patient)
    Task("cancel", partial(at.api.cancel, process_id)).finish()
    assert at.world.rows.now.processes[process_id]["state"] == State.CANCELLED
    run.finish()
    broken = come_to_rest(at, [], zombies_sleep=False)
    assert bool(broken) is is_broken
    assert all(found.startswith("7: ") for found in broken)
