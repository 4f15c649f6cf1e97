"""A run that is left without executors while it computes: its jobs end, and it says why."""

from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from assets.errors import PodsFailedError
from contracts.reasons import ReasonCode
from tests.unit.executors_bench import OWN, PROFILE, SETTINGS, World


def losing_all(world: World) -> None:
    """A job whose executors go for good: Spark waits for new ones until somebody ends the job."""
    world.cluster.add(OWN)
    world.session.registered = 0
    world.cluster.is_full = True
    assert world.session.cancelled.wait(10)
    raise RuntimeError("[SPARK_JOB_CANCELLED] Job 0 cancelled as part of cancellation of all jobs")


def losing_some(world: World) -> None:
    """A job that fails for itself, while executors go and others come."""
    for registered in (0, 1, 0, 1):
        world.session.registered = registered
        assert not world.session.cancelled.wait(0.2)
    raise RuntimeError("the action's own")


def test_a_run_that_is_left_without_executors_ends_and_says_why() -> None:
    hasty = World(settings=SETTINGS.model_copy(update={"executor_start_seconds": 0.2}))
    hasty.session.registered = 3
    with pytest.raises(PodsFailedError) as failed, hasty.executors.attached(hasty.session, PROFILE):
        losing_all(hasty)
    assert failed.value.reason.code is ReasonCode.QUOTA_EXCEEDED
    assert isinstance(failed.value.__cause__, RuntimeError)
    hasty.session.cancelled.clear()
    assert not hasty.session.cancelled.wait(0.3), "nobody watches any more"


def test_executors_that_are_replaced_in_time_leave_the_work_alone() -> None:
    hasty = World(settings=SETTINGS.model_copy(update={"executor_start_seconds": 0.4}))
    hasty.session.registered = 3
    with pytest.raises(RuntimeError, match="the action's own"), hasty.executors.attached(hasty.session, PROFILE):
        losing_some(hasty)


def test_a_run_that_needs_no_executor_for_a_while_may_be_without() -> None:
    hasty = World(settings=SETTINGS.model_copy(update={"executor_start_seconds": 0.1}))
    hasty.session.registered = 3
    with hasty.executors.attached(hasty.session, PROFILE):
        hasty.session.has_jobs, hasty.session.registered = False, 0
        assert not hasty.session.cancelled.wait(0.5)


def failing_for_itself(world: World) -> None:
    """A job is ended for want of executors; the action bears that, and fails later for a reason of its own."""
    world.session.registered = 0
    assert world.session.cancelled.wait(10)
    raise ValueError("no such month")


def test_what_else_goes_wrong_afterwards_is_told_as_what_it_is() -> None:
    hasty = World(settings=SETTINGS.model_copy(update={"executor_start_seconds": 0.1}))
    hasty.session.registered = 3
    with pytest.raises(ValueError, match="no such month"), hasty.executors.attached(hasty.session, PROFILE):
        failing_for_itself(hasty)


def test_jobs_are_ended_even_if_nobody_can_say_why(tmp_path: Path) -> None:
    gone = {"executor_start_seconds": 0.1, "executor_template": tmp_path / "gone.yaml"}
    hasty = World(settings=SETTINGS.model_copy(update=gone))
    hasty.cluster.add(OWN)
    hasty.session.registered = 3
    with (
        capture_logs() as logs,
        pytest.raises(PodsFailedError) as failed,
        hasty.executors.attached(hasty.session, PROFILE),
    ):
        losing_all(hasty)
    assert failed.value.reason.code is ReasonCode.POD_PENDING
    assert "executors.unexplained" in [entry["event"] for entry in logs]


def test_who_is_interrupted_does_not_wait_for_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = World(settings=SETTINGS.model_copy(update={"executor_start_seconds": 0.1}))
    hasty.session.registered = 3
    answers = Event()
    monkeypatch.setattr(hasty.cluster, "pods", lambda _: answers.wait(60) and [])
    with pytest.raises(KeyboardInterrupt), hasty.executors.attached(hasty.session, PROFILE):
        interrupted(hasty)
    assert not answers.is_set()
    answers.set()


def interrupted(world: World) -> None:
    """Somebody ends this process while the watch asks a mute cluster why the executors went."""
    world.session.registered = 0
    assert world.session.cancelled.wait(10)
    raise KeyboardInterrupt


def test_a_run_whose_work_is_done_when_its_executors_go_has_done_it() -> None:
    hasty = World(settings=SETTINGS.model_copy(update={"executor_start_seconds": 0.2}))
    hasty.session.registered = 3
    with hasty.executors.attached(hasty.session, PROFILE):
        hasty.session.registered = 0
        assert hasty.session.cancelled.wait(10)
