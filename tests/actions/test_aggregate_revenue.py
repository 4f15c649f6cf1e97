"""Revenue by month and segment."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from assets.actions.aggregate_revenue import aggregate_revenue
from assets.errors import ActionContractError
from assets.testing import compute

ORDERS = [
    {"o_orderkey": 1, "o_custkey": 7, "o_orderdate": date(1995, 3, 4)},
    {"o_orderkey": 2, "o_custkey": 7, "o_orderdate": date(1995, 3, 30)},
    {"o_orderkey": 3, "o_custkey": 7, "o_orderdate": date(1995, 4, 1)},
]
LINES = [
    {"l_orderkey": 1, "l_extendedprice": Decimal("100.00"), "l_discount": Decimal("0.10")},
    {"l_orderkey": 1, "l_extendedprice": Decimal("10.00"), "l_discount": Decimal("0.00")},
    {"l_orderkey": 2, "l_extendedprice": Decimal("0.05"), "l_discount": Decimal("0.09")},
    {"l_orderkey": 3, "l_extendedprice": Decimal("1.00"), "l_discount": Decimal("1.00")},
]
CUSTOMERS = [{"c_custkey": 7, "c_mktsegment": "BUILDING"}]


TABLES: dict[str, Any] = {"orders": ORDERS, "lineitem": LINES, "customer": CUSTOMERS}


def test_revenue_is_price_less_discount_by_month() -> None:
    march, april = compute(aggregate_revenue, **TABLES)
    assert march == {"month": date(1995, 3, 1), "segment": "BUILDING", "revenue": Decimal("100.05"), "orders": 2}
    assert (april["revenue"], april["orders"]) == (Decimal("0.00"), 1)
    assert compute(aggregate_revenue, {"min_orders": 2}, **TABLES) == [march]


def test_parameters_are_held_to_their_model() -> None:
    with pytest.raises(ActionContractError, match="min_orders"):
        compute(aggregate_revenue, {"min_orders": -1}, orders=[], lineitem=[], customer=[])
