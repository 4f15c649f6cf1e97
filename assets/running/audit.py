"""Measuring the declared checks on what was written, before anybody can see it.

Rows, most null counts and most bounds stand in the footers that the commit reads anyway. Everything else is answered by
one read of just the columns that it needs, whatever the number of checks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from assets.checks import AcceptedRange, AcceptedValues, Check, Holds, NotNull, RowBound, Unique
from assets.errors import CheckFailedError
from assets.running.failures import is_of_expression, sentence
from assets.tables.footers import Footer
from assets.tables.schema import Schema
from assets.tables.values import Value, fit, literal
from contracts.commit import CheckResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Scan = Callable[[Sequence[str]], Sequence[Any]]
"""Aggregates in Spark SQL over what was written → their values. Called once, and again only after NoValueError."""

CountRows = Callable[[str], int]
"""Input name → its rows."""


class NoValueError(Exception):
    """An aggregate has no value: its expression raised for a row, and says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a run has written: its columns, its footers, and how to look into it."""

    schema: Schema
    footers: Sequence[Footer]
    scan: Scan

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(footer.rows for footer in self.footers)


@dataclass(frozen=True, slots=True)
class _Question:
    """The aggregates that a check needs, and what their values say: does it hold, and what was measured?"""

    judge: Callable[..., tuple[bool, str]]
    aggregates: tuple[str, ...] = ()


def measure(checks: Sequence[Check], written: Written, rows_of: CountRows) -> list[CheckResult]:
    """Return one result per check, in order. Raises CheckFailedError, with the results, naming each that fails."""
    rows_of = cache(rows_of)  # text has to be read for it
    questions = [_question(check, written, rows_of) for check in checks]
    try:
        results = _measured_together(checks, questions, written.scan)
    except NoValueError:
        # One expression has stopped the read for all: only asked by itself each tells which it was.
        results = [_measured_alone(*each, written.scan) for each in zip(checks, questions, strict=True)]
    if not all(result.passed for result in results):
        raise CheckFailedError(results)
    return results


def scan_of(read: "Callable[[], DataFrame]") -> Scan:
    """Return the scan over what ``read`` makes: one Spark job that reads only the columns that the aggregates name.

    To make the frame Spark looks for every file: ``read`` is called by the first scan, and not without one. A scan
    raises NoValueError when it is an aggregate that fails, and Spark's error when anything else does.
    """
    frame = cache(read)

    def scan(aggregates: Sequence[str]) -> Sequence[Any]:
        from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - only runs need Spark
        from pyspark.errors import PySparkException  # noqa: PLC0415

        try:
            row = frame().selectExpr(*(f"{each} AS value_{place}" for place, each in enumerate(aggregates))).first()
        except (PySparkException, Py4JJavaError) as error:
            if is_of_expression(error):
                raise NoValueError(sentence(error)) from error
            raise
        return tuple(row or ())

    return scan


def broken_rows(condition: str) -> str:
    """Return the aggregate that counts the rows for which ``condition`` is false."""
    return f"count_if(NOT ({condition}))"


def _measured_together(checks: Sequence[Check], questions: Sequence[_Question], scan: Scan) -> list[CheckResult]:
    wanted = [aggregate for question in questions for aggregate in question.aggregates]
    values = iter(scan(wanted) if wanted else ())
    return [_result(check, question, values) for check, question in zip(checks, questions, strict=True)]


def _measured_alone(check: Check, question: _Question, scan: Scan) -> CheckResult:
    try:
        return _measured_together([check], [question], scan)[0]
    except NoValueError as error:
        return CheckResult(name=str(check), passed=False, measured=str(error))


def _result(check: Check, question: _Question, values: Iterator[Any]) -> CheckResult:
    passed, measured = question.judge(*islice(values, len(question.aggregates)))
    return CheckResult(name=str(check), passed=passed, measured=measured)


def _question(check: Check, written: Written, rows_of: CountRows) -> _Question:
    match check:
        case NotNull(columns):
            counted = _nulls(columns, written.footers)
            asked = [column for column in columns if column not in counted]
            return _Question(
                lambda *counts: _no_nulls(columns, counted | dict(zip(asked, counts, strict=True))),
                tuple(f"count_if(`{column}` IS NULL)" for column in asked),
            )
        case RowBound():
            return _Question(lambda: _bounded(check, written.rows, rows_of))
        case AcceptedRange((column,), low, high):
            return _range_question(column, low, high, written)
        case Unique(columns):
            names = ", ".join(f"`{column}`" for column in columns)
            # Both counts pass over rows that have a null in one of the columns.
            return _Question(lambda n: (n == 0, f"{n} rows too many"), (f"count({names}) - count(DISTINCT {names})",))
        case AcceptedValues((column,), values):
            accepted = ", ".join(literal(value, written.schema.type_of(column)) for value in values)
            return _Question(_none_broken, (broken_rows(f"`{column}` IN ({accepted})"),))
        case Holds(condition):
            return _Question(_none_broken, (broken_rows(condition),))


def _none_broken(broken: int) -> tuple[bool, str]:
    return broken == 0, f"{broken} rows break it"


def _no_nulls(columns: Sequence[str], nulls: Mapping[str, int]) -> tuple[bool, str]:
    return not any(nulls.values()), ", ".join(f"{column} has {nulls[column]} nulls" for column in columns)


def _nulls(columns: Sequence[str], footers: Sequence[Footer]) -> dict[str, int]:
    """Return how many nulls each column has, without those whose nulls some footer does not count."""
    told = [column for column in columns if all(column in footer.null_counts for footer in footers)]
    return {column: sum(footer.null_counts[column] for footer in footers) for column in told}


def _bounded(check: RowBound, rows: int, rows_of: CountRows) -> tuple[bool, str]:
    measured = f"{rows} rows"
    bound = Decimal(str(check.rows))
    if check.per:
        there = rows_of(check.per)
        bound, measured = bound * there, f"{rows} rows, {check.per} has {there}"
    return rows >= bound if check.word == "at_least" else rows <= bound, measured


def _range_question(column: str, low: Value | None, high: Value | None, written: Written) -> _Question:
    kind = written.schema.type_of(column)
    known = _known_bounds(column, kind, written.footers)
    if known is not None:
        return _Question(
            lambda: _within(column, known, [None if each is None else fit(each, kind) for each in (low, high)])
        )
    bounds = [(">=", low), ("<=", high)]
    told = [f"`{column}` {sign} {literal(bound, kind)}" for sign, bound in bounds if bound is not None]
    if kind in {"float", "double"}:
        told.append(f"NOT isnan(`{column}`)")  # Spark orders NaN above every number; it is within no bounds
    return _Question(_none_broken, (broken_rows(" AND ".join(told)),))


def _within(column: str, known: tuple[Any, Any], bounds: Sequence[Any]) -> tuple[bool, str]:
    (smallest, largest), (low, high) = known, bounds
    if smallest is None:
        return True, f"{column} has no values"
    passed = (low is None or smallest >= low) and (high is None or largest <= high)
    return passed, f"{column} is {smallest} to {largest}"


def _known_bounds(column: str, kind: str, footers: Sequence[Footer]) -> tuple[Any, Any] | None:
    """Return the smallest and largest value as every footer tells it, None when one of them does not."""
    filled = [footer for footer in footers if footer.null_counts.get(column) != footer.rows]
    if not all(column in footer.min_values and column in footer.max_values for footer in filled):
        return None
    decode = _DECODERS.get(kind.partition("(")[0], int)
    lows = [decode(footer.min_values[column]) for footer in filled]
    highs = [decode(footer.max_values[column]) for footer in filled]
    return min(lows, default=None), max(highs, default=None)


# From how a footer's bounds are kept (assets.tables.footers.encode_bound) to what they mean.
_DECODERS: dict[str, Callable[[Any], Any]] = {"date": date.fromisoformat, "decimal": lambda bound: Decimal(repr(bound))}
