"""Orders pass as they were delivered."""

from datetime import date
from decimal import Decimal

from assets.actions.ingest_orders import ingest_orders
from assets.testing import compute


def test_rows_pass_as_they_are() -> None:
    row = {"o_orderkey": 1, "o_custkey": 7, "o_orderdate": date(1995, 3, 4), "o_totalprice": Decimal("10.50")}
    (passed,) = compute(ingest_orders, orders=[row])
    assert {name: value for name, value in passed.items() if value is not None} == row
