"""What a run reads: its input once, whatever checks and counts it has, and each footer once, many at a time."""

import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.checks import Check
from assets.declaration import Action, Format, accepted_range, action, at_least, at_most, landing, not_null, unique
from assets.reading.sources import Sources
from bench.commit import CountedLake
from contracts.storage import token_prefix
from tests.integration.spark_mill import Mill

FILES, ROWS = 6, 500
COLUMNS = "n bigint, kind string"
LISTED_BY_DRIVER = "spark.sql.sources.parallelPartitionDiscovery.threshold"
FROM_FOOTERS = [not_null("n", "kind"), at_least(rows=1), at_most(rows=1, per="rows"), accepted_range("n", at_least=0)]


def deliver(mill: Mill) -> None:
    for part in range(FILES):
        file = io.BytesIO()
        numbers = range(part * ROWS, (part + 1) * ROWS)
        pq.write_table(pa.table({"n": list(numbers), "kind": [str(n % 7) for n in numbers]}), file)
        mill.deliver("rows", f"{part}.parquet", file.getvalue())


def kept(checks: list[Check], kind: Format = "parquet", **facts: Any) -> Action:
    @action(inputs={"rows": landing(kind, COLUMNS)}, output="kept", schema=COLUMNS, checks=checks, **facts)
    def keep(rows: Any) -> Any:
        return rows

    return keep


def jobs_of(mill: Mill, declared: Action, group: str) -> list[int]:
    """Run the action; return the numbers of Spark's jobs for it."""
    context: Any = mill.spark.sparkContext
    context.setJobGroup(group, "")
    mill.run(declared)
    return list(context.statusTracker().getJobIdsForGroup(group))


def records_read(mill: Mill, declared: Action, group: str) -> int:
    """Run the action; return how many rows Spark has read for it, by Spark's own count."""
    jobs = jobs_of(mill, declared, group)
    context: Any = mill.spark.sparkContext
    tracker, store = context.statusTracker(), context._jsc.sc().statusStore()
    stages = [stage for job in jobs for stage in tracker.getJobInfo(job).stageIds]
    return sum(store.lastStageAttempt(stage).inputRecords() for stage in stages)


def test_checks_and_counts_that_footers_answer_read_no_row_twice(mill: Mill) -> None:
    deliver(mill)
    assert records_read(mill, kept(FROM_FOOTERS), mill.entity) == FILES * ROWS


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_is_read_once_and_once_more_for_all_that_count_its_rows(mill: Mill, kind: Format) -> None:
    """The lines of CSV are looked through besides, header and all, for those that Spark's reader of it drops."""
    lines = 2 * ROWS + 1 if kind == "csv" else ROWS
    head, line = ("n,kind\n", "{},a\n") if kind == "csv" else ("", '{{"n": {}, "kind": "a"}}\n')
    body = (head + "".join(line.format(n) for n in range(ROWS))).encode()
    counting: list[Check] = [at_least(rows=1, per="rows"), at_most(rows=1, per="rows")]
    for times, checks in enumerate([[not_null("n"), at_least(rows=1)], counting], 1):
        mill.entity += f"-{times}"
        mill.deliver("rows", f"a.{kind}", body)
        assert records_read(mill, kept(checks, kind), mill.entity) == times * lines


def test_all_other_checks_together_read_what_was_written_once(mill: Mill) -> None:
    deliver(mill)
    checks = [*FROM_FOOTERS, unique("n"), unique("n", "kind")]
    assert records_read(mill, kept(checks), mill.entity) == 2 * FILES * ROWS


@pytest.mark.parametrize(("checks", "listings"), [(FROM_FOOTERS, 1), ([*FROM_FOOTERS, unique("n")], 2)])
def test_what_was_written_is_looked_for_only_when_it_is_read(mill: Mill, checks: list[Check], listings: int) -> None:
    """The input always is. Spark makes a job of it where there are many files; here of any number."""
    deliver(mill)
    mill.spark.conf.set(LISTED_BY_DRIVER, 0)
    try:
        jobs = jobs_of(mill, kept(checks), mill.entity)
    finally:
        mill.spark.conf.unset(LISTED_BY_DRIVER)
    context: Any = mill.spark.sparkContext
    told = [str(context._jsc.sc().statusStore().job(job).description()) for job in jobs]
    assert sum("Listing leaf files" in each for each in told) == listings, told


def test_rows_in_order_are_read_once_more_since_the_last_shuffle(mill: Mill) -> None:
    deliver(mill)
    assert records_read(mill, kept([], sort_by=["n"]), mill.entity) == 2 * FILES * ROWS
    mill.entity += "-shuffled"
    deliver(mill)

    @action(inputs={"rows": landing("parquet", COLUMNS)}, output="kept", schema=COLUMNS, sort_by=["n"])
    def unlike(rows: Any) -> Any:
        return rows.distinct()

    assert records_read(mill, unlike, mill.entity) == FILES * ROWS


def test_each_footer_is_read_once_and_many_at_a_time(mill: Mill) -> None:
    deliver(mill)
    lake, delivered = CountedLake(mill.store, "lake"), CountedLake(mill.store, "landing")
    sources = Sources(delivered, "landing", (), lambda _: delivered)
    commit = mill.run(kept(FROM_FOOTERS), tools=replace(mill.tools, lake=lake, sources=sources)).commit
    assert list(delivered.requests.values()) == [1] * FILES
    assert delivered.most_at_once > 1
    folder = token_prefix(commit.coordinate, commit.provenance.token)
    assert dict(lake.requests) == {folder + file.name: 1 for file in commit.files}
