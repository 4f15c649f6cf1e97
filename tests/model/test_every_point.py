"""One death at each labelled point of an otherwise quiet story: nothing is lost, and all guarantees hold."""

from contextlib import suppress
from functools import partial

import pytest

from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.states import State
from tests.model.decisions import Decisions
from tests.model.deployment import Deployment
from tests.model.rest import come_to_rest
from tests.model.tasks import Task
from tests.model.world import CATALOGUE, TENANTS

POINTS = ["A1", "A2", "A3", "R1", "R2", "R3", "S1", "S2", "S3", "D1", "D2", "D3", "J2", "J5", "P1", "J6", "J7"]
POINTS += ["C1", "C2", "C3"]
"""docs/architecture.md, "Crash points"; D is Dagster's daemon."""
REQUEST = ProcessRequest(
    entity_id="e1", data_version="v1", action=CATALOGUE.name, callback_url="https://acme.example/hook"
)


@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_a_point_loses_nothing(point: str) -> None:
    at = Deployment(Decisions())
    submit = partial(at.api.submit, TENANTS["acme"], REQUEST, "key")
    died = [_dies(Task("submit", submit), point)]
    submit()
    died += [_dies(at.loop(what), point) for what in ("release", "tick")]
    died += [_dies(at.dagster.start(run), point) for run in at.queued()]
    died += [_dies(at.loop(what), point) for what in ("reconcile", "deliver")]
    assert any(died)
    assert come_to_rest(at, [], zombies_sleep=False) == []
    assert [row["state"] for row in at.world.rows.now.processes.values()] == [State.SUCCEEDED]


def _dies(task: Task, point: str) -> bool:
    """Let a task go on until it ends, or dies at ``point``."""
    task.doomed_at = point
    with suppress(ProblemError):
        task.finish(until=point)
    has_died = task.is_dead or not task.is_over
    task.kill()
    return has_died
