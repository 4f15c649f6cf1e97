"""Measuring the declared checks on what was written, before anybody can see it.

Null counts and rows stand in the footers that the commit reads anyway. Only ``unique`` reads data: its own columns.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from assets.checks import AtLeast, Check, NotNull, Unique
from assets.errors import CheckFailedError, CommitterError
from assets.footers import Footer
from contracts.commit import CheckResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CountDuplicates = Callable[[tuple[str, ...]], int]
"""Columns → how many rows stand more than once in them."""


def measure(checks: Sequence[Check], footers: Sequence[Footer], duplicates: CountDuplicates) -> list[CheckResult]:
    """Return one result per check, in order. Raises CheckFailedError naming every check that does not hold."""
    results = [_measure(check, footers, duplicates) for check in checks]
    if failed := [f"{result.name}: {result.measured}" for result in results if not result.passed]:
        raise CheckFailedError(f"nothing was published; {'; '.join(failed)}")
    return results


def count_duplicates(written: "DataFrame") -> CountDuplicates:
    """Return the count over ``written``; each call is one Spark job over the named columns only."""

    def count(columns: tuple[str, ...]) -> int:
        groups = written.groupBy(*columns).count()
        surplus = groups.selectExpr("sum(`count` - 1) AS surplus").first()
        return int(surplus["surplus"] or 0) if surplus else 0

    return count


def _measure(check: Check, footers: Sequence[Footer], duplicates: CountDuplicates) -> CheckResult:
    match check:
        case NotNull(columns):
            nulls = {column: _nulls(column, footers) for column in columns}
            measured = ", ".join(f"{column} has {count} nulls" for column, count in nulls.items())
            return CheckResult(name=str(check), passed=not any(nulls.values()), measured=measured)
        case AtLeast(least):
            rows = sum(footer.rows for footer in footers)
            return CheckResult(name=str(check), passed=rows >= least, measured=f"{rows} rows")
        case Unique(columns):
            surplus = duplicates(columns)
            return CheckResult(name=str(check), passed=surplus == 0, measured=f"{surplus} rows too many")


def _nulls(column: str, footers: Sequence[Footer]) -> int:
    if missing := [footer.key for footer in footers if column not in footer.null_counts]:
        raise CommitterError(f"{missing[0]}: the footer does not count the nulls of {column}")
    return sum(footer.null_counts[column] for footer in footers)
