"""What the bench of processes makes of its measurements."""

from datetime import UTC, datetime

from bench.process import Pair, add_marginal_rates
from bench.report import Report
from bench.requester import Timed
from contracts.callbacks import Artifact

ARTIFACT = Artifact(path="s3://lake/a/b/c", rows=1, bytes=1, files=1, commit_digest="0", committed_at=datetime.now(UTC))


def pair(rows: int, ours: list[float], bare: list[float]) -> Pair:
    return Pair(rows, [Timed(ARTIFACT, seconds, {}, {}) for seconds in ours], bare)


def test_the_overhead_is_that_of_each_turn() -> None:
    # A slow minute of the machine is in both of its turn, and not in their difference.
    assert pair(1, [30, 90, 31], [20, 79, 22]).overhead == 10


def test_the_marginal_rate_leaves_out_what_a_start_costs() -> None:
    report = Report("process", "")
    pairs = {
        ("ingest_lineitem", 1.0): pair(1000, [110, 120, 130], [20, 20, 20]),
        ("ingest_lineitem", 5.0): pair(5000, [160], [52, 60, 68]),
    }
    add_marginal_rates(report, pairs)
    assert report.figures["rewrite_marginal_rate"].value == 4000 / 40 * 3600
    told = report.figures["rewrite_marginal_rate_of_bare"]
    assert (told.value, told.met) == (1.0, True)


def test_seconds_that_say_nothing_meet_no_target() -> None:
    report = Report("process", "")
    pairs = {("ingest_lineitem", scale): pair(int(scale), [10 - scale], [10 - scale]) for scale in (1.0, 5.0)}
    add_marginal_rates(report, pairs)
    assert report.figures["rewrite_marginal_rate_of_bare"].met is False
