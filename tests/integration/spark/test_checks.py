"""The declared checks with real Spark: measured on what was written, published with it, or instead of it told."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult, materialize

from assets.checks import Check
from assets.declaration import (
    Action,
    accepted_range,
    accepted_values,
    action,
    at_least,
    at_most,
    holds,
    landing,
    not_null,
    unique,
)
from assets.errors import ActionContractError, CheckFailedError, InputCorruptError
from assets.factory import build_asset
from assets.partitions import add_keys, partition_key
from assets.snapshots.reader import find_snapshot
from assets.snapshots.verify import verify
from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from tests.integration.spark_mill import Mill, table_of

SCHEMA = "n bigint, kind string, share double, price decimal(10,2), day date, at timestamp"
MOMENT = datetime(2024, 10, 5, 12, tzinfo=UTC)
ROWS = [
    (1, "it's", 0.25, Decimal("1.50"), date(2024, 10, 5), MOMENT),
    (2, "b\\c", 0.75, Decimal("2.50"), date(2024, 10, 6), MOMENT),
    (2, None, None, None, None, None),
]


HOLDING = [
    accepted_values("kind", "it's", "b\\c"),
    accepted_values("n", 1, 2),
    accepted_values("day", "2024-10-05", date(2024, 10, 6)),
    accepted_range("share", at_least=0.25, at_most=0.75),
    accepted_range("price", at_least=Decimal("1.5"), at_most=2.5),
    accepted_range("at", at_least="2024-10-05T12:00:00Z", at_most=MOMENT),
    unique("n", "kind"),
    holds("price >= n"),
    at_most(rows=3),
]
BROKEN = [
    (accepted_values("kind", "it's"), "1 rows break it"),
    (accepted_values("day", "2024-10-05"), "1 rows break it"),
    (accepted_range("share", at_most=0.5), "1 rows break it"),
    (accepted_range("price", at_least=1.51), "price is 1.5 to 2.5"),
    (accepted_range("at", at_least="2024-10-05T12:00:00.000001Z"), "2 rows break it"),
    (unique("n"), "1 rows too many"),
    (unique("kind", "day"), None),
    (holds("price > 2"), "1 rows break it"),
    (at_most(rows=2), "3 rows"),
]


def jobs_of(mill: Mill, declared: Action) -> int:
    """Run the action; return how many Spark jobs the audit took."""
    tracker: Any = mill.spark.sparkContext.statusTracker()
    mill.spark.sparkContext.setJobGroup("audit", "")
    before = len(tracker.getJobIdsForGroup("audit"))
    mill.run(declared)
    return len(tracker.getJobIdsForGroup("audit")) - before


def test_checks_that_hold_are_measured_by_one_read_and_stand_in_the_commit(mill: Mill) -> None:
    plain = jobs_of(mill, table_of(mill, SCHEMA, ROWS))
    mill.entity += "-checked"
    checked = jobs_of(mill, table_of(mill, SCHEMA, ROWS, checks=HOLDING))
    snapshot = find_snapshot(mill.lake, Coordinate(mill.entity, "v1", "made"))
    assert snapshot is not None
    results = snapshot.commit.provenance.checks
    assert [result.name for result in results] == [str(check) for check in HOLDING]
    assert all(result.passed for result in results)
    assert results[4].measured == "price is 1.5 to 2.5"
    mill.entity += "-unique"
    # Spark runs an aggregate as one job for each of its stages.
    assert checked == jobs_of(mill, table_of(mill, SCHEMA, ROWS, checks=[unique("n", "kind")])) > plain


def test_every_check_that_does_not_hold_is_named_and_nothing_is_published(mill: Mill) -> None:
    made = table_of(mill, SCHEMA, ROWS, checks=[check for check, _ in BROKEN])
    with pytest.raises(CheckFailedError) as refused:
        mill.run(made)
    told = {result.name: result for result in refused.value.results}
    for check, measured in BROKEN:
        assert told[str(check)].passed == (measured is None), check
        assert measured is None or told[str(check)].measured == measured
    reason = mill.control.reports[-1].reason
    assert reason is not None
    assert reason.code is ReasonCode.CHECK_FAILED
    assert "holds(price > 2): 1 rows break it" in reason.message
    assert find_snapshot(mill.lake, Coordinate(mill.entity, "v1", "made")) is None


def test_nan_is_within_no_bounds_and_a_null_is_no_value_that_could_occur_twice(mill: Mill) -> None:
    rows = [(0.5, 1, "a"), (float("nan"), None, "b"), (None, None, "b"), (float("nan"), 2, None), (0.25, 2, None)]
    checks = [
        accepted_range("share", at_least=0),
        accepted_range("share", at_most=1),
        holds("share <= 1"),  # what NaN means to Spark itself
        unique("n", "kind"),
        unique("share"),
        unique("kind"),
    ]
    with pytest.raises(CheckFailedError) as refused:
        mill.run(table_of(mill, "share double, n int, kind string", rows, checks=checks))
    broken, sound = "2 rows break it", "0 rows too many"
    assert [result.measured for result in refused.value.results] == [
        *[broken] * 3,
        sound,
        *["1 rows too many"] * 2,
    ]


@pytest.mark.parametrize("condition", ["amount > 0", "n >", "n", "sum(n) > 0"])
def test_a_condition_that_spark_does_not_take_costs_no_write(mill: Mill, condition: str) -> None:
    with pytest.raises(ActionContractError, match="is no condition over its output"):
        mill.run(table_of(mill, SCHEMA, ROWS, checks=[holds(condition)]))
    assert list(mill.lake.list(f"{mill.entity}/")) == []


LONG = "x" * 5_000


def test_nulls_among_values_too_long_for_a_footer_are_counted_by_a_read(mill: Mill) -> None:
    columns, checks = "word string, raw binary", [not_null("word", "raw")]
    rows = [(LONG, LONG.encode()), (None, None)]
    with pytest.raises(CheckFailedError, match="word has 1 nulls, raw has 1 nulls"):
        mill.run(table_of(mill, columns, rows, checks=checks))
    published = mill.run(table_of(mill, columns, rows[:1], checks=checks))
    assert [file.null_counts for file in published.commit.files if file.rows] == [{}]
    assert verify(mill.lake, published.commit.coordinate, deep=True).ok


def kept(*checks: Check) -> Action:
    @action(inputs={"rows": landing("csv", "n bigint")}, output="kept", schema="n bigint", checks=checks)
    def keep(rows: Any) -> Any:
        return rows.where("n > 1")

    return keep


def test_rows_are_counted_against_those_of_an_input(mill: Mill) -> None:
    mill.deliver("rows", "a.csv", b"n\n1\n2\n3\n4\n")
    with pytest.raises(CheckFailedError, match="3 rows, rows has 4"):
        mill.run(kept(at_least(rows=1, per="rows")))
    published = mill.run(kept(at_least(rows=0.75, per="rows")))

    @action(inputs={"kept": "kept"}, output="twice", schema="n bigint", checks=[at_most(rows=1, per="kept")])
    def twice(kept: Any) -> Any:
        return kept.union(kept)

    with pytest.raises(CheckFailedError, match="6 rows, kept has 3"):
        mill.run(twice)
    assert published.commit.provenance.checks[0].measured == "3 rows, rows has 4"


def test_a_bad_row_that_only_the_count_of_an_input_meets_is_told_as_one(mill: Mill) -> None:
    @action(
        inputs={"rows": landing("csv", "n bigint")},
        output="first",
        schema="n bigint",
        checks=[at_most(rows=1, per="rows")],
    )
    def first(rows: Any) -> Any:
        return rows.limit(1)

    mill.deliver("rows", "a.csv", b"n\n" + b"1\n" * 9999 + b"soon\n")
    with pytest.raises(InputCorruptError, match=r"1 of 10000 rows .* a\.csv row 10000"):
        mill.run(first)
    assert "written" in mill.control.reports[-1].stages
    assert mill.failure[0] is ReasonCode.INPUT_CORRUPT


def test_dagster_shows_the_checks_of_a_run_whether_they_hold_or_not(mill: Mill) -> None:
    bad = materialized(mill, table_of(mill, SCHEMA, ROWS, checks=[unique("n"), at_least(rows=1)]))
    assert not bad.success
    assert {each.check_name: each.passed for each in bad.get_asset_check_evaluations()} == {
        "unique_n": False,
        "at_least_rows_1": True,
    }
    good = materialized(mill, table_of(mill, SCHEMA, ROWS, checks=[unique("n", "kind"), at_least(rows=1)]))
    assert good.success
    assert [each.metadata["measured"].value for each in good.get_asset_check_evaluations()] == [
        "0 rows too many",
        "3 rows",
    ]


def materialized(mill: Mill, declared: Action) -> ExecuteInProcessResult:
    with DagsterInstance.ephemeral() as instance:
        add_keys(instance, mill.entity, "v1")
        return materialize(
            [build_asset(declared)],
            instance=instance,
            partition_key=partition_key(mill.entity, "v1"),
            raise_on_error=False,
            resources={
                "settings": mill.settings,
                "control_plane": mill.control,
                "lake": mill.lake,
                "landing": mill.landing,
                "spark": mill.sessions,
            },
        )
