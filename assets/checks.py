"""What an action promises of its output: each check knows its columns and its spelling; ``running/audit.py`` measures.

A null breaks ``not_null`` alone: to every other check of values it is no value, as in SQL's own CHECK.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from assets.errors import ActionContractError
from assets.tables.schema import Schema
from assets.tables.values import RANGED, Value, fit, is_number, spelled


@dataclass(frozen=True, slots=True)
class NotNull:
    """No row has a null in these columns. Answered from the Parquet footers where they count; else by a read of them.

    No footer counts the nulls of nested columns, and Spark's do not where the least and the greatest text have 4 KiB.
    """

    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"not_null({_listed(self.columns)})"


@dataclass(frozen=True, slots=True)
class Unique:
    """No two rows agree in all these columns. Needs a read of them."""

    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"unique({_listed(self.columns)})"


@dataclass(frozen=True, slots=True)
class RowBound:
    """There are at least, or at most, so many rows; with ``per`` so many for each row of that input."""

    word: Literal["at_least", "at_most"]
    rows: int | float
    per: str | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.word}(rows={self.rows}{f', per={self.per}' if self.per else ''})"


@dataclass(frozen=True, slots=True)
class AcceptedValues:
    """A column has no other values than these. Needs a read of it."""

    columns: tuple[str]
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"accepted_values({', '.join([*self.columns, *map(spelled, self.values)])})"


@dataclass(frozen=True, slots=True)
class AcceptedRange:
    """A column has no values outside these bounds. Answered from the footers where they tell exact bounds."""

    columns: tuple[str]
    at_least: Value | None
    at_most: Value | None

    def __str__(self) -> str:
        bounds = {"at_least": self.at_least, "at_most": self.at_most}
        written = [f"{word}={spelled(bound)}" for word, bound in bounds.items() if bound is not None]
        return f"accepted_range({', '.join([*self.columns, *written])})"


@dataclass(frozen=True, slots=True)
class Holds:
    """A condition in Spark SQL is false for no row. Needs a read of its columns."""

    condition: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"holds({self.condition})"


Check = NotNull | Unique | RowBound | AcceptedValues | AcceptedRange | Holds


def not_null(*columns: str) -> Check:
    """Promise that no row has a null in any of these columns."""
    return NotNull(columns)


def unique(*columns: str) -> Check:
    """Promise that no two rows agree in all of these columns."""
    return Unique(columns)


def at_least(*, rows: float, per: str | None = None) -> Check:
    """Promise at least this many rows, or this many for each row of the input ``per``: ``rows=0.9, per="orders"``."""
    return RowBound("at_least", rows, per)


def at_most(*, rows: float, per: str | None = None) -> Check:
    """Promise at most this many rows, or this many for each row of the input ``per``."""
    return RowBound("at_most", rows, per)


def accepted_values(column: str, *values: Value) -> Check:
    """Promise that the column has no other values. A date or timestamp may be written as ISO 8601 text."""
    return AcceptedValues((column,), values)


def accepted_range(column: str, *, at_least: Value | None = None, at_most: Value | None = None) -> Check:
    """Promise that no value of the column lies outside: numbers, dates, timestamps; both bounds are accepted."""
    return AcceptedRange((column,), at_least, at_most)


def holds(condition: str) -> Check:
    """Promise that a condition in Spark SQL over the output's columns is false for no row."""
    return Holds(condition)


def validate(check: Check, schema: Schema, inputs: Collection[str]) -> None:
    """Return when the check fits an output of ``schema`` made of ``inputs``. Raises ActionContractError."""
    if unknown := [str(column) for column in check.columns if column not in schema.names]:
        raise ActionContractError(f"{check} names columns that the schema does not have: {', '.join(unknown)}")
    if not isinstance(check, NotNull) and (nested := [column for column in check.columns if column in schema.nested]):
        raise ActionContractError(
            f"{check} compares values, and {', '.join(nested)} is nested; holds(…) can look inside"
        )
    problem: str | None = None
    match check:
        case NotNull() | Unique():
            problem = None if check.columns else "needs at least one column"
        case RowBound(_, rows, per):
            problem = _row_problem(rows, per, inputs)
        case AcceptedValues((column,), values):
            problem = None if values else "needs at least one value"
            for value in values:
                fit(value, schema.type_of(column))
        case AcceptedRange((column,), low, high):
            problem = _range_problem(schema.type_of(column), low, high)
        case Holds(condition):
            problem = None if condition.strip() else "needs a condition"
    if problem:
        raise ActionContractError(f"{check} {problem}")


def identifiers(checks: Collection[Check]) -> list[str]:
    """Return one short name per check, of letters, digits and underscores, all different."""
    found: list[str] = []
    for check in checks:
        name = re.sub(r"\W+", "_", str(check), flags=re.ASCII).strip("_")[:60]
        found.append(f"{name}_{len(found) + 1}" if name in found else name)
    return found


def _listed(columns: Collection[str]) -> str:
    return ", ".join(map(str, columns))


def _row_problem(rows: float, per: str | None, inputs: Collection[str]) -> str | None:
    if not is_number(rows) or not rows >= 0:
        return "needs a number of rows that is not negative"
    if per is None:
        return None if isinstance(rows, int) else "counts whole rows; a fraction needs per=…"
    return None if per in inputs else f"names an input that is not there; there are: {', '.join(inputs) or 'none'}"


def _range_problem(kind: str, low: Value | None, high: Value | None) -> str | None:
    if not kind.startswith(RANGED):
        return f"needs a number, a date or a timestamp, the column is a {kind}"
    bounds = [fit(bound, kind) for bound in (low, high) if bound is not None]
    if not bounds:
        return "needs at_least=…, at_most=… or both"
    return "accepts nothing: its bounds are the wrong way round" if bounds != sorted(bounds) else None
