"""Values that an action file names: held to the type of their column, and written as Spark SQL writes them."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from assets.errors import ActionContractError

Value = bool | int | float | Decimal | str | date | datetime

INTEGERS = ("byte", "short", "integer", "long")
RANGED = (*INTEGERS, "float", "double", "decimal", "date", "timestamp")
"""How the names of types begin whose values have an order that people mean."""


def fit(value: Value, kind: str) -> Value:
    """Return ``value`` as its column's type compares it: int, float, Decimal, date, datetime (UTC) or str.

    Raises ActionContractError when it is no value of ``kind``, Spark's name of a type.
    """
    try:
        found = _fit(value, kind)
    except (ValueError, InvalidOperation):
        found = None
    if found is None:
        raise ActionContractError(f"{spelled(value)} is no value that a column of type {kind} can be compared with")
    return found


def literal(value: Value, kind: str) -> str:
    """Return ``value`` as a literal of Spark SQL. Raises ActionContractError as ``fit`` does."""
    match fit(value, kind):
        case str() as text:
            return _quoted(text)
        case float() as number:
            return f"CAST('{number!r}' AS {kind})"
        case Decimal() as number:
            return f"{number:f}BD"
        case datetime() as moment:
            return f"TIMESTAMP'{moment.isoformat()}'"
        case date() as day:
            return f"DATE'{day.isoformat()}'"
        case number:
            return str(number)


def spelled(value: Value) -> str:
    """Return ``value`` as the header of a ``.sql`` file spells it."""
    return repr(value.isoformat()) if isinstance(value, date) else str(value) if is_number(value) else repr(value)


def _fit(value: Value, kind: str) -> Value | None:
    if kind in INTEGERS:
        return value if isinstance(value, int) and is_number(value) else None
    if kind in {"float", "double"}:
        return float(value) if isinstance(value, int | float) and is_number(value) and math.isfinite(value) else None
    if kind.startswith("decimal"):
        number = Decimal(str(value)) if is_number(value) else None
        return number if number is not None and number.is_finite() else None
    if kind == "date":
        return date.fromisoformat(value) if isinstance(value, str) else None if _is_moment(value) else _day(value)
    if kind == "timestamp":
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return _in_utc(moment) if isinstance(moment, datetime) else None
    return value if kind == "string" and isinstance(value, str) else None


def is_number(value: object) -> bool:
    """Return whether ``value`` is a number; True and False are none."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_moment(value: Value) -> bool:
    return isinstance(value, datetime)


def _day(value: Value) -> date | None:
    return value if isinstance(value, date) else None


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
