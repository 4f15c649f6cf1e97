"""When the faults are over: everything goes on until nothing is left to do, within a bounded number of rounds."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from contracts.problems import ProblemError
from contracts.states import State
from resources.dagster.runs import RunState
from tests.model.accidents import recover
from tests.model.checker import Outcome, violations
from tests.model.deployment import Deployment
from tests.model.tasks import Task
from tests.model.world import SECRET, TENANTS

ROUNDS = 80
"""Passes of every loop within which everything has ended."""


def come_to_rest(at: Deployment, held_up: Sequence[Task], *, zombies_sleep: bool) -> list[str]:
    """End all faults, and return what does not hold when all is over.

    Runs that are held up go on at once, or, when ``zombies_sleep``, are given up and wake up when all has ended.
    """
    _heal(at)
    tasks = [task for task in held_up if not task.is_over]
    asleep = [task for task in tasks if zombies_sleep and at.is_run(task)]
    for task in tasks:
        if task not in asleep:
            go_on(task)
    _rest(at, asleep)
    for task in asleep:
        go_on(task)
    _rest(at, [])
    log = at.world.log
    ends, starts = dict(enumerate(log.ends)), dict(enumerate(log.starts))
    listing = dict(at.world.store.objects)
    return violations(
        Outcome(at.world.history, at.world.rows.now, listing, log.topic_id, ends, starts), TENANTS, SECRET
    )


def go_on(task: Task) -> None:
    """Let a task go on until it ends or sleeps."""
    with suppress(ProblemError):
        while not task.is_over:
            task.step()
            if task.at == "asleep":
                return


def _heal(at: Deployment) -> None:
    recover(at)
    at.link.lost_answers = at.worker.unacknowledged = at.receiver.mute = 0
    at.world.store.fates.clear()
    at.dagster.accident = None
    at.receiver.status = 200


def _rest(at: Deployment, asleep: Sequence[Task]) -> None:
    for _ in range(ROUNDS):
        for what in ("release", "tick"):
            go_on(at.loop(what))
        for run in at.queued():
            at.dagster.start(run)
        for task in [task for run in at.dagster.runs.values() for task in run.tasks]:
            if not task.is_over and task not in asleep:
                go_on(task)
        _give_up(at, asleep)
        for what in ("reconcile", "deliver"):
            go_on(at.loop(what))
        if _is_at_rest(at):
            return
        _pass_time(at)


def _give_up(at: Deployment, asleep: Sequence[Task]) -> None:
    """Let Dagster's monitoring notice runs that do not live, or do not move."""
    for run in at.dagster.runs.values():
        if run.status is RunState.STARTED and all(task.is_over or task in asleep for task in run.tasks):
            run.status = RunState.FAILURE


def _is_at_rest(at: Deployment) -> bool:
    tables = at.world.rows.now
    has_ended = all(State(row["state"]).is_terminal for row in tables.processes.values())
    is_told = all(row["state"] != "pending" for row in tables.deliveries.values())
    return has_ended and is_told and at.dagster.has_read_all


def _pass_time(at: Deployment) -> None:
    """Until the reconciler's next pass or, when only callbacks wait, until the first of them is due."""
    tables, now = at.world.rows.now, at.world.clock()
    due = [row["next_try_at"] for row in tables.deliveries.values() if row["state"] == "pending"]
    if any(not State(row["state"]).is_terminal for row in tables.processes.values()):
        due = []
    until = max(now + timedelta(seconds=31), min(due, default=now))
    at.world.clock.advance((until - now).total_seconds())
