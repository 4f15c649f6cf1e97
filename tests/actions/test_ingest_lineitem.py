"""Line items pass as they were delivered."""

from decimal import Decimal

from assets.actions.ingest_lineitem import ingest_lineitem
from assets.testing import compute


def test_rows_pass_as_they_are() -> None:
    row = {"l_orderkey": 1, "l_linenumber": 1, "l_discount": Decimal("0.10"), "l_extendedprice": Decimal("9.00")}
    (passed,) = compute(ingest_lineitem, lineitem=[row])
    assert {name: value for name, value in passed.items() if value is not None} == row
