"""Rows of every type that a snapshot may have: nulls, extremes, oddities; and how readers are compared."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, isnan, nan
from typing import Any

DDL = """
    n int, a boolean, b tinyint, c smallint, d int, e bigint, f float, g double, h decimal(38,4), h2 decimal(9,2),
    h3 decimal(18,18), i string, j binary, k date, l timestamp
"""
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
FLOAT_MAX, DOUBLE_MAX = 3.4028234663852886e38, 1.7976931348623157e308
ROWS: list[tuple[Any, ...]] = [
    (
        *(1, True, -128, -(2**15), -(2**31), -(2**63), -FLOAT_MAX, -DOUBLE_MAX, Decimal(f"-{'9' * 34}.9999")),
        *(Decimal("-9999999.99"), Decimal(f"-0.{'9' * 18}"), "", b"", date(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC)),
    ),
    (
        *(2, False, 127, 2**15 - 1, 2**31 - 1, 2**63 - 1, FLOAT_MAX, DOUBLE_MAX, Decimal(f"{'9' * 34}.9999")),
        *(Decimal("9999999.99"), Decimal(f"0.{'9' * 18}"), "ä\n\0🜨", b"\0\xff", date(9999, 12, 31), LAST),
    ),
    (
        *(3, None, 0, 0, 0, 0, nan, -inf, Decimal("0.0000"), Decimal("0.01"), Decimal(f"0.{'0' * 17}1"), "a" * 5000),
        *(b"x" * 5000, date(1582, 10, 4), datetime(1582, 10, 15, 0, 0, 0, 1, tzinfo=UTC)),
    ),
    (4, *(None,) * 14),
]


COLUMNS = [word.split()[0] for word in re.split(r",(?![^()]*\))", DDL)]
BOUNDED = ["b", "c", "d", "e", "h2", "k"]
"""Columns whose bounds the commit tells of each file: those of ``h`` and ``h3`` no JSON number carries."""


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in order, whose values are equal exactly when they are the same; floats of any width by what they hold."""

    def value(found: Any) -> Any:
        if isinstance(found, float):
            return "NaN" if isnan(found) else found
        if isinstance(found, datetime):
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return bytes(found) if isinstance(found, bytearray) else found

    return [tuple(map(value, row)) for row in sorted(rows)]
