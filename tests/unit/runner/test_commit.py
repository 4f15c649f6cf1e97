"""The commit's PUT, every answer that it can have, and what is made of it."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from assets.errors import AlreadyPublishedError, CommitRefusedError
from assets.snapshots.verify import verify
from contracts.commit import digest
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import commit_key, token_prefix
from resources.control_plane import AttemptSupersededError, ControlPlaneUnavailableError
from resources.lake.store import LakeAccessError, LakeUnavailableError, PutOutcome
from tests.unit.runner.bench import Bench, expired, lost_before_the_store, stored_but_answer_lost


def test_a_lost_answer_to_a_stored_commit_is_success(bench: Bench) -> None:
    bench.lake.steps = [stored_but_answer_lost]
    assert bench.run().commit == bench.published()
    assert bench.control.events[-1] is Event.SUCCEEDED


def test_a_412_on_our_own_commit_is_success(bench: Bench) -> None:
    def stored_then_412(send: Callable[[], PutOutcome]) -> PutOutcome:
        send()
        return send()

    bench.lake.steps = [stored_then_412]
    assert bench.run().commit == bench.published()


def test_a_lost_request_is_sent_again(bench: Bench) -> None:
    bench.lake.steps = [lost_before_the_store, lost_before_the_store]
    assert bench.run().commit == bench.published()


def test_a_lost_answer_and_a_deaf_store_are_sat_out(bench: Bench) -> None:
    def stored_then_deaf(send: Callable[[], PutOutcome]) -> PutOutcome:
        bench.lake.deaf = 2
        return stored_but_answer_lost(send)

    bench.lake.steps = [stored_then_deaf, lost_before_the_store, lost_before_the_store]
    assert bench.run().commit == bench.published()


def test_a_store_that_never_answers_ends_the_attempt(bench: Bench) -> None:
    bench.lake.steps = [lost_before_the_store] * 1000
    with pytest.raises(LakeUnavailableError, match="does not say"):
        bench.run()
    assert 100 <= sum(bench.clock.slept) <= 130
    assert bench.failure.code is ReasonCode.STORAGE_UNAVAILABLE


def test_a_commit_after_its_time_is_refused(bench: Bench) -> None:
    bench.lake.steps = [expired]
    with pytest.raises(CommitRefusedError, match="after its time"):
        bench.run()
    assert bench.failure.code is ReasonCode.COMMIT_REFUSED


def test_a_process_that_slept_past_its_permit_cannot_commit(bench: Bench) -> None:
    bench.control.on_committing = lambda: bench.clock.sleep(121)
    with pytest.raises(CommitRefusedError):
        bench.run()
    assert bench.published() is None


def test_a_stored_commit_whose_retry_expires_is_success(bench: Bench) -> None:
    def stored_then_deaf(send: Callable[[], PutOutcome]) -> PutOutcome:
        bench.lake.deaf = 1
        return stored_but_answer_lost(send)

    bench.lake.steps = [stored_then_deaf, expired]
    assert bench.run().commit == bench.published()


def test_whoever_commits_second_has_lost(bench: Bench) -> None:
    def another_wins(send: Callable[[], PutOutcome]) -> PutOutcome:
        bench.run(member=bench.member(process_id=uuid4()))
        return send()

    bench.lake.steps = [another_wins]
    with pytest.raises(AlreadyPublishedError, match="meanwhile"):
        bench.run()
    assert bench.failure.code is ReasonCode.VERSION_ALREADY_PUBLISHED
    winner = bench.published()
    assert winner is not None
    assert winner.provenance.process_id != bench.process_id
    assert verify(bench.lake, bench.home).ok


def test_an_earlier_attempt_that_commits_first_is_the_processs_success(bench: Bench) -> None:
    def attempt_1_wakes_up(send: Callable[[], PutOutcome]) -> PutOutcome:
        bench.run(member=bench.member(attempt=1))
        return send()

    bench.lake.steps = [attempt_1_wakes_up]
    published = bench.run(member=bench.member(attempt=2))
    assert published.commit == bench.published()
    assert published.commit.provenance.attempt == 1
    assert published.digest == digest(bench.lake.get(commit_key(bench.home)) or b"")
    assert bench.control.events[-1] is Event.SUCCEEDED
    assert Event.FAILED not in bench.control.events


def test_something_foreign_at_the_commit_is_never_ours(bench: Bench) -> None:
    def foreign_wins(send: Callable[[], PutOutcome]) -> PutOutcome:
        bench.lake.put(commit_key(bench.home), b"{}")
        return send()

    bench.lake.steps = [foreign_wins]
    with pytest.raises(AlreadyPublishedError, match="something else"):
        bench.run()


def test_a_refused_commit_is_the_storages_fault(bench: Bench) -> None:
    def denied(_send: Callable[[], PutOutcome]) -> PutOutcome:
        raise LakeAccessError("read-only credentials")

    bench.lake.steps = [denied]
    with pytest.raises(LakeAccessError):
        bench.run()
    assert bench.failure.code is ReasonCode.STORAGE_UNAVAILABLE


@pytest.mark.parametrize("error", [ControlPlaneUnavailableError("down"), AttemptSupersededError("expired meanwhile")])
def test_a_published_snapshot_is_success_whoever_hears_of_it(bench: Bench, error: Exception) -> None:
    bench.control.refuse(Event.SUCCEEDED, error)
    assert bench.run().commit == bench.published()
    assert bench.control.events[-1] is Event.SUCCEEDED


def test_damage_is_found_by_verify(bench: Bench) -> None:
    commit = bench.run().commit
    key = token_prefix(bench.home, commit.provenance.token) + commit.files[0].name
    whole = bench.lake.get(key) or b""
    for damaged, words in [
        (whole[:-1], "bytes, the commit says"),
        (whole[:-4] + b"XXXX", "does not end like a Parquet file"),
    ]:
        bench.lake.put(key, damaged)
        assert words in " ".join(verify(bench.lake, bench.home).problems)
    bench.lake.delete([key])
    assert verify(bench.lake, bench.home).problems == [f"{commit.files[0].name} is missing"]
    bench.lake.put(commit_key(bench.home), b"{}")
    assert "cannot be read" in verify(bench.lake, bench.home).problems[0]
