"""What may keep a run from its commit before it is sent: the permit, and a tombstone."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from assets.errors import CommitRefusedError, RetiredError
from assets.running.runner import run_operator
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import dataset_prefix, tombstone_key
from resources.control_plane import (
    AttemptSupersededError,
    ControlPlaneRefusedError,
    ControlPlaneUnavailableError,
    PermitHeldError,
    VersionRetiredError,
)
from resources.lake.store import ObjectInfo
from tests.unit.runner.bench import OTHER, Bench


def test_the_url_is_signed_before_the_permit_is_asked_for(bench: Bench) -> None:
    signed_before: list[int] = []
    bench.control.on_committing = lambda: signed_before.append(len(bench.lake.presigned))
    bench.run()
    assert signed_before == [1]
    assert bench.lake.presigned == [120]
    asked = next(report for report in bench.control.reports if report.event is Event.COMMITTING)
    assert asked.commit_expires_at == bench.clock.now + timedelta(seconds=120)


def test_a_held_permit_is_waited_for_with_a_fresh_url(bench: Bench) -> None:
    bench.control.refuse(Event.COMMITTING, PermitHeldError("held", 30), PermitHeldError("held", 40))
    bench.run()
    assert bench.clock.slept == [30, 40]
    assert len(bench.lake.presigned) == 3
    assert bench.published() is not None


def test_a_permit_that_stays_held_is_given_up(bench: Bench) -> None:
    bench.control.refuse(Event.COMMITTING, *[PermitHeldError("held", 50) for _ in range(20)])
    with pytest.raises(CommitRefusedError):
        bench.run()
    assert sum(bench.clock.slept) <= 240
    assert bench.failure.code is ReasonCode.COMMIT_REFUSED
    assert bench.published() is None


def test_a_permit_that_is_refused_ends_the_attempt_with_its_words(bench: Bench) -> None:
    words = "409 commit_outlives_permit: set the same LAKEMILL_PERMIT_SECONDS"
    bench.control.refuse(Event.COMMITTING, ControlPlaneRefusedError(words))
    with pytest.raises(CommitRefusedError):
        bench.run()
    assert bench.failure.code is ReasonCode.COMMIT_REFUSED
    assert words in bench.failure.message
    assert bench.published() is None


def test_a_permit_refused_because_the_coordinate_was_retired_is_final(bench: Bench) -> None:
    bench.control.refuse(Event.COMMITTING, VersionRetiredError("409 version_retired: since noon"))
    with pytest.raises(RetiredError):
        bench.run()
    assert (bench.failure.code, bench.failure.is_retriable) == (ReasonCode.VERSION_RETIRED, False)
    assert "since noon" in bench.failure.message
    assert bench.published() is None


def test_a_tombstone_stops_a_run_before_it_computes(bench: Bench) -> None:
    bench.lake.put(tombstone_key(bench.home), b"whatever it says")
    computed: list[int] = []
    with pytest.raises(RetiredError, match="retired, for ever"):
        bench.run(bench.action(lambda: computed.append(1)))
    assert computed == []
    assert bench.control.events == [Event.STARTED, Event.FAILED]
    assert bench.failure.code is ReasonCode.VERSION_RETIRED


@pytest.mark.parametrize("is_operators", [False, True])
def test_a_tombstone_that_appears_while_it_computes_stops_the_commit(bench: Bench, is_operators: bool) -> None:
    def compute() -> object:
        bench.lake.put(tombstone_key(bench.home), b"{}")
        return bench.frame()

    declared, home = bench.action(compute), bench.home
    operate = partial(run_operator, run_id=OTHER, profile=Profile(), tools=bench.tools)
    # An operator's run asks for no permit: nothing else would stop it.
    run = (
        partial(operate, declared, home.entity_id, home.data_version) if is_operators else partial(bench.run, declared)
    )
    with pytest.raises(RetiredError):
        run()
    assert len(bench.lake.presigned) == 1
    assert bench.published() is None


@pytest.mark.parametrize("is_operators", [False, True])
def test_a_run_that_slept_until_its_files_were_collected_does_not_commit(bench: Bench, is_operators: bool) -> None:
    def collected(prefix: str) -> Iterator[ObjectInfo]:
        found = list(bench.lake.inner.list(prefix))
        if prefix.startswith(dataset_prefix(bench.home)):  # the committer's look: the last one before the commit
            bench.lake.delete([each.key for each in found if each.key.endswith("_SUCCESS")])
        return iter(found)

    bench.lake.list = collected  # type: ignore[method-assign]
    home = bench.home
    operate = partial(run_operator, run_id=OTHER, profile=Profile(), tools=bench.tools)
    with pytest.raises(CommitRefusedError, match="collected"):
        operate(bench.action(), home.entity_id, home.data_version) if is_operators else bench.run()
    assert bench.published() is None


def test_an_attempt_superseded_at_the_permit_writes_nothing(bench: Bench) -> None:
    bench.control.refuse(Event.COMMITTING, AttemptSupersededError("cancelled"))
    with pytest.raises(AttemptSupersededError):
        bench.run()
    assert bench.control.events == [Event.STARTED, Event.COMMITTING]
    assert bench.published() is None


def test_without_a_permit_nothing_is_put(bench: Bench) -> None:
    bench.control.refuse(Event.COMMITTING, ControlPlaneUnavailableError("down"))
    with pytest.raises(ControlPlaneUnavailableError):
        bench.run()
    assert bench.failure.code is ReasonCode.CONTROL_PLANE_UNAVAILABLE
    assert bench.published() is None
