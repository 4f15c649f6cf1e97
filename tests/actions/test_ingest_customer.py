"""Customers pass as they were delivered."""

from decimal import Decimal

from assets.actions.ingest_customer import ingest_customer
from assets.testing import compute


def test_rows_pass_as_they_are() -> None:
    row = {"c_custkey": 7, "c_mktsegment": "BUILDING", "c_acctbal": Decimal("-0.50")}
    (passed,) = compute(ingest_customer, customer=[row])
    assert {name: value for name, value in passed.items() if value is not None} == row
