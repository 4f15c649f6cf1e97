"""The queue of the bench of architectures computes what the action does, to the cent."""

import io
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from bench.architectures.queue_worker import CheckError, aggregate, ingest

MONEY = pl.Decimal(15, 2)
LINES: dict[str, list[Any]] = {
    "l_orderkey": [1, 1, 2, 3],
    "l_linenumber": [1, 2, 1, 1],
    "l_extendedprice": [Decimal("100.00"), Decimal("10.00"), Decimal("0.05"), Decimal("1.00")],
    "l_discount": [Decimal("0.10"), Decimal("0.00"), Decimal("0.09"), Decimal("1.00")],
}
ORDERS: dict[str, list[Any]] = {
    "o_orderkey": [1, 2, 3],
    "o_custkey": [7, 7, 7],
    "o_orderdate": [date(1995, 3, 4), date(1995, 3, 30), date(1995, 4, 1)],
}
CUSTOMERS: dict[str, list[Any]] = {"c_custkey": [7], "c_mktsegment": ["BUILDING"]}


def parquet(columns: dict[str, list[Any]]) -> bytes:
    file = io.BytesIO()
    frame = pl.DataFrame(columns)
    frame.with_columns(pl.col(pl.Decimal).cast(MONEY)).write_parquet(file)
    return file.getvalue()


def test_revenue_is_price_less_discount_by_month() -> None:
    rows = aggregate({"lineitem": parquet(LINES), "orders": parquet(ORDERS), "customer": parquet(CUSTOMERS)}).rows()
    march, april = date(1995, 3, 1), date(1995, 4, 1)
    assert rows == [(march, "BUILDING", Decimal("100.05"), 2), (april, "BUILDING", Decimal("0.00"), 1)]


@pytest.mark.parametrize(("column", "value"), [("o_orderkey", [1, 2, 2]), ("o_custkey", [7, None, 7])])
def test_a_delivery_that_breaks_a_promise_is_refused(column: str, value: list[Any]) -> None:
    assert ingest("orders", parquet(ORDERS)).height == 3
    with pytest.raises(CheckError, match="orders"):
        ingest("orders", parquet(ORDERS | {column: value}))
