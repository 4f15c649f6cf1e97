"""The runner from the gate to the write: what it reports, and what it never does."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from assets.checks import at_least, not_null, unique
from assets.declaration import action
from assets.errors import ActionContractError, ActionRaisedError, AlreadyPublishedError, CheckFailedError
from assets.running.runner import run_operator
from assets.snapshots.verify import verify
from contracts.commit import digest
from contracts.messages import Profile
from contracts.reasons import Reason, ReasonCode
from contracts.reports import MAX_RUN_SECONDS, Event
from contracts.storage import Stage, commit_key, dataset_prefix
from resources.control_plane import AttemptSupersededError, ControlPlaneUnavailableError
from resources.spark.storage import SparkUnavailableError
from tests.unit.runner.bench import RUN_ID, SCHEMA, Bench


def test_an_attempt_is_reported_computed_committed_and_verified(bench: Bench) -> None:
    published = bench.run()
    assert bench.control.events == [Event.STARTED, Event.COMMITTING, Event.SUCCEEDED]
    commit = bench.published()
    assert commit == published.commit
    assert commit.rows == 2
    assert published.digest == digest(bench.lake.get(commit_key(bench.home)) or b"")
    assert published.url == bench.lake.url(dataset_prefix(bench.home)).rstrip("/")
    assert tuple(published.stages) == tuple(Stage)
    assert bench.control.reports[1].token == commit.provenance.token
    assert bench.control.reports[-1].stages == published.stages
    report = verify(bench.lake, bench.home)
    assert report.ok
    assert (report.files, report.rows, report.digest) == (1, 2, published.digest)


def test_the_commit_says_who_computed_it_with_what(bench: Bench) -> None:
    provenance = bench.run().commit.provenance
    assert (provenance.process_id, provenance.attempt, provenance.tenant) == (bench.process_id, 1, "acme")
    assert (provenance.run_id, provenance.action) == (RUN_ID, "aggregate_revenue")
    assert [check.name for check in provenance.checks] == ["not_null(month)", "unique(month)", "at_least(rows=1)"]
    assert all(check.passed for check in provenance.checks)
    assert provenance.resources["granted"] == Profile().model_dump()
    assert provenance.resources["driver_cpu_seconds"] == 1.5
    assert tuple(provenance.stages) == tuple(Stage)


def test_an_attempt_that_is_not_wanted_does_nothing(bench: Bench) -> None:
    bench.control.refuse(Event.STARTED, AttemptSupersededError("gone"))
    with pytest.raises(AttemptSupersededError):
        bench.run()
    assert bench.control.events == [Event.STARTED]
    assert list(bench.lake.list("")) == []
    assert bench.sessions.profiles == []


def test_a_coordinate_of_another_process_is_refused_before_spark_starts(bench: Bench) -> None:
    bench.run()
    with pytest.raises(AlreadyPublishedError, match="published already"):
        bench.run(member=bench.member(process_id=uuid4()))
    assert bench.failure.code is ReasonCode.VERSION_ALREADY_PUBLISHED
    assert "revenue" in bench.failure.message
    assert len(bench.sessions.profiles) == 1


def test_an_earlier_attempt_of_the_same_process_is_success(bench: Bench) -> None:
    first = bench.run()
    again = bench.run(member=bench.member(attempt=2))
    assert again.digest == first.digest
    assert bench.control.events[-2:] == [Event.STARTED, Event.SUCCEEDED]
    assert len(bench.sessions.profiles) == 1


def test_what_lakemill_did_not_write_is_never_replaced(bench: Bench) -> None:
    bench.lake.put(commit_key(bench.home), b'{"protocol":{}}\n')
    with pytest.raises(AlreadyPublishedError, match="something else"):
        bench.run()
    assert bench.failure.code is ReasonCode.VERSION_ALREADY_PUBLISHED
    assert bench.lake.get(commit_key(bench.home)) == b'{"protocol":{}}\n'


def raising(error: BaseException) -> Callable[[], Any]:
    def compute() -> Any:
        raise error

    return compute


@pytest.mark.parametrize(
    ("error", "raised", "code", "words"),
    [
        (ValueError("no such month\nmore lines"), ValueError, ReasonCode.ACTION_RAISED, "ValueError: no such month"),
        (SystemExit(0), ActionRaisedError, ReasonCode.ACTION_RAISED, "SystemExit: 0"),
        (KeyboardInterrupt(), KeyboardInterrupt, ReasonCode.RUN_DIED, "KeyboardInterrupt"),
        (MemoryError(), MemoryError, ReasonCode.OUT_OF_MEMORY, "MemoryError"),
        (
            RuntimeError("x: java.lang.OutOfMemoryError: Java heap space"),
            RuntimeError,
            ReasonCode.OUT_OF_MEMORY,
            "heap",
        ),
        (RuntimeError("y" * 9000), RuntimeError, ReasonCode.ACTION_RAISED, "RuntimeError: yyy"),
    ],
)
def test_an_action_that_raises_fails_with_its_words(
    bench: Bench, error: BaseException, raised: type[BaseException], code: ReasonCode, words: str
) -> None:
    with pytest.raises(raised):
        bench.run(bench.action(raising(error)))
    assert bench.failure.code is code
    assert words in bench.failure.message
    assert len(bench.failure.message) <= 1000
    assert "more lines" not in bench.failure.message
    assert bench.published() is None


def test_an_interrupted_run_says_why_when_the_cluster_does(bench: Bench) -> None:
    evicted = Reason(code=ReasonCode.POD_EVICTED, message="the cluster evicted the run pod")
    bench.sessions.interrupted_by = evicted
    with pytest.raises(KeyboardInterrupt):
        bench.run(bench.action(raising(KeyboardInterrupt())))
    assert bench.failure == evicted
    bench.sessions.interrupted_by = evicted
    with pytest.raises(ValueError, match="no such month"):
        bench.run(bench.action(raising(ValueError("no such month"))))
    assert bench.failure.code is ReasonCode.ACTION_RAISED  # nobody interrupted this one


@pytest.mark.parametrize(
    ("seconds", "error", "code"),
    [
        (MAX_RUN_SECONDS - 1, KeyboardInterrupt(), ReasonCode.RUN_TIMED_OUT),
        (MAX_RUN_SECONDS - 120, KeyboardInterrupt(), ReasonCode.RUN_DIED),
        (MAX_RUN_SECONDS, ValueError("no such month"), ReasonCode.ACTION_RAISED),
    ],
)
def test_a_run_that_is_interrupted_when_its_time_is_over_says_so(
    bench: Bench, seconds: int, error: BaseException, code: ReasonCode
) -> None:
    def hangs() -> Any:
        bench.clock.sleep(seconds)
        raise error

    with pytest.raises(type(error)):
        bench.run(bench.action(hangs))
    assert bench.failure.code is code


def test_a_result_that_is_not_what_was_declared_is_refused(bench: Bench) -> None:
    for result, words in [
        (lambda: None, "NoneType"),
        (lambda: [1], "list"),
        (lambda: bench.frame("orders bigint, month string", orders=[1], month=["a"]), "another order"),
        (
            lambda: bench.frame("month string, orders int", month=["a"], orders=[1]),
            "orders int instead of orders bigint",
        ),
        (lambda: bench.frame("month string", month=["a"]), "missing columns"),
    ]:
        with pytest.raises(ActionContractError, match=words):
            bench.run(bench.action(result))
        assert bench.failure.code is ReasonCode.ACTION_CONTRACT
    assert list(bench.lake.list("")) == []


def test_failed_checks_are_all_named_and_nothing_is_published(bench: Bench) -> None:
    columns: dict[str, Any] = {"month": ["a", "a", None], "orders": [1, 2, 3]}
    checks = [not_null("month"), unique("month"), at_least(rows=4), not_null("orders")]
    with pytest.raises(CheckFailedError):
        bench.run(bench.action(lambda: bench.frame(**columns), checks=checks))
    assert bench.failure.code is ReasonCode.CHECK_FAILED
    for words in ("not_null(month): month has 1 nulls", "unique(month): 1 rows too many", "at_least(rows=4): 3 rows"):
        assert words in bench.failure.message
    assert "orders" not in bench.failure.message
    assert bench.control.reports[-1].resources == {"granted": Profile().model_dump(), "driver_cpu_seconds": 1.5}
    assert bench.published() is None


def test_an_empty_result_is_a_snapshot_when_no_check_forbids_it(bench: Bench) -> None:
    empty = bench.action(lambda: bench.frame(month=[], orders=[]), checks=[not_null("month"), unique("month")])
    assert bench.run(empty).commit.rows == 0


class Least(BaseModel):
    least: int


def test_parameters_are_validated_and_recorded(bench: Bench) -> None:
    seen: list[int] = []

    @action(inputs={}, output="revenue", schema=SCHEMA)
    def aggregate_revenue(params: Least) -> Any:
        seen.append(params.least)
        return bench.frame()

    with pytest.raises(ActionContractError, match="least"):
        bench.run(aggregate_revenue)
    assert bench.failure.code is ReasonCode.ACTION_CONTRACT
    published = bench.run(aggregate_revenue, bench.member(params={"least": 3}))
    assert (seen, published.commit.provenance.params) == ([3], {"least": 3})


class Limits(BaseModel):
    least: float | None
    each: list[float] = []


@pytest.mark.parametrize(
    ("params", "told"), [({"least": "inf"}, "params.least"), ({"least": None, "each": [1, "nan"]}, "params.each.1")]
)
def test_a_number_that_the_commit_could_not_tell_of_is_refused(bench: Bench, params: dict[str, Any], told: str) -> None:
    """JSON has no infinity; pydantic makes one of the text."""

    @action(inputs={}, output="revenue", schema=SCHEMA)
    def aggregate_revenue(params: Limits) -> Any:
        raise AssertionError(params)

    with pytest.raises(ActionContractError, match=f"{told} must be a finite number"):
        bench.run(aggregate_revenue, bench.member(params=params))
    assert bench.failure.code is ReasonCode.ACTION_CONTRACT


def test_spark_that_does_not_start_is_the_deployments_fault(bench: Bench) -> None:
    bench.sessions.error = SparkUnavailableError("no jars")
    with pytest.raises(SparkUnavailableError):
        bench.run()
    assert bench.failure.code is ReasonCode.SPARK_UNAVAILABLE


def test_a_failure_that_cannot_be_reported_is_still_raised(bench: Bench) -> None:
    bench.control.refuse(Event.FAILED, ControlPlaneUnavailableError("down"))
    with pytest.raises(ValueError, match="no such month") as raised:
        bench.run(bench.action(raising(ValueError("no such month"))))
    assert "could not be reported" in raised.value.__notes__[0]


def test_an_operators_run_reports_published_only(bench: Bench) -> None:
    published = run_operator(bench.action(), "site-7", "v1", run_id=RUN_ID, profile=Profile(), tools=bench.tools)
    (report,) = bench.control.reports
    assert report.event is Event.PUBLISHED
    assert (report.entity_id, report.data_version, report.dataset) == ("site-7", "v1", "revenue")
    assert published.commit.provenance.process_id is None
    assert published.commit.provenance.token.startswith(f"{RUN_ID}-0-")
    with pytest.raises(AlreadyPublishedError):
        run_operator(bench.action(), "site-7", "v1", run_id=RUN_ID, profile=Profile(), tools=bench.tools)
    assert len(bench.control.reports) == 1
