"""Rows of every type that a snapshot may have: nulls, extremes, oddities; and how readers are compared."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, isnan, nan
from typing import Any

from assets.tables.schema import Array, Map, Schema, Type

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

RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
NESTED_DDL = f"""
    n int, s struct<{DDL}>, a array<struct<{DDL}>>, m map<string, struct<{DDL}>>, words array<string>,
    days map<date, decimal(38,4)>, moments map<timestamp, array<binary>>,
    deep array<map<bigint, struct<x array<struct<y double>>>>>
"""
NESTED_ROWS: list[tuple[Any, ...]] = [
    (
        *(1, RECORDS[0], RECORDS, dict(zip("abcd", RECORDS, strict=True)), ["", None, "ä\n\0🜨"]),
        *({date(1, 1, 1): Decimal("0.0001"), date(9999, 12, 31): None}, {LAST: [b"", b"\0\xff", None]}),
        [{-(2**63): {"x": [{"y": nan}, None, {"y": None}]}, 2**63 - 1: None}, None, {0: {"x": []}}, {0: {"x": None}}],
    ),
    (2, dict.fromkeys(COLUMNS), [], {}, [], {}, {}, []),
    (3, RECORDS[1], [None, RECORDS[2]], {"": None}, [None], {}, {LAST: None}, [{}]),
    (4, *(None,) * 7),
]

NEVER_NULL_DDL = "n int, a array<array<int>>, s struct<x bigint>, m map<string, struct<y array<int>>>"
NEVER_NULL_ROWS: list[tuple[Any, ...]] = [(1, [[2]], (3,), {"k": ([4],)})]


def plain(ddl: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in order, whose values are equal exactly when they are the same, as Python, Arrow and Polars have them.

    Floats of any width by what they hold, a struct as a tuple, a map as its entries in order.
    """
    schema = Schema.parse(ddl)
    return [_plain(row, schema) for row in sorted(rows, key=lambda row: row[0])]


def _plain(found: Any, kind: Type) -> Any:
    if found is None:
        return None
    match kind:
        case Schema(columns):
            values = found.values() if isinstance(found, dict) else found
            return tuple(_plain(value, column.type) for value, column in zip(values, columns, strict=True))
        case Array(element):
            return [_plain(each, element) for each in found]
        case Map(key, value):
            entries = found.items() if isinstance(found, dict) else map(_entry, found)
            return sorted(((_plain(k, key), _plain(v, value)) for k, v in entries), key=lambda entry: entry[0])
    return _flat(found)


def _flat(found: Any) -> Any:
    match found:
        case float() if isnan(found):
            return "NaN"
        case datetime():
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        case bytearray():
            return bytes(found)
    return found


def _entry(found: Any) -> Any:
    return found.values() if isinstance(found, dict) else found  # Polars has no maps
