"""The bare job that ``bench/process.py`` compares with does the action's work."""

from datetime import date
from decimal import Decimal
from typing import Any

from assets.actions.aggregate_revenue import aggregate_revenue
from assets.testing import compute, local_spark
from bench.stock.job import JOBS

ORDERS = [(1, 7, date(1995, 3, 4)), (2, 7, date(1995, 3, 30)), (3, 8, date(1995, 4, 1))]
LINES = [(1, Decimal("100.00"), Decimal("0.10")), (1, Decimal("10.00"), Decimal("0.00"))]
LINES += [(2, Decimal("0.05"), Decimal("0.09")), (3, Decimal("1.00"), Decimal("1.00"))]
CUSTOMERS = [(7, "BUILDING"), (8, "MACHINERY")]
TABLES: dict[str, tuple[str, list[Any]]] = {
    "orders": ("o_orderkey bigint, o_custkey bigint, o_orderdate date", ORDERS),
    "lineitem": ("l_orderkey bigint, l_extendedprice decimal(15,2), l_discount decimal(15,2)", LINES),
    "customer": ("c_custkey bigint, c_mktsegment string", CUSTOMERS),
}


def test_both_compute_the_same_revenue() -> None:
    frames = {name: local_spark().createDataFrame(rows, ddl) for name, (ddl, rows) in TABLES.items()}
    bare = [row.asDict() for row in JOBS["aggregate_revenue"](**frames).collect()]
    given: dict[str, Any] = {name: [row.asDict() for row in frame.collect()] for name, frame in frames.items()}
    assert bare == compute(aggregate_revenue, **given)
    assert len(bare) == 2
