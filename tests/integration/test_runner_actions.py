"""The deployed actions as functions, by the harness that users write their own tests with."""

import importlib
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from assets.actions.aggregate_revenue import aggregate_revenue
from assets.actions.daily_delays import daily_delays
from assets.actions.ingest_flights import ingest_flights
from assets.errors import ActionContractError
from assets.registry import registry
from assets.testing import compute, local_spark
from resources.spark import stop_session

DAY = date(2013, 1, 1)


@pytest.fixture(scope="module", autouse=True)
def _no_spark_is_left_to_other_tests() -> Iterator[None]:
    yield
    stop_session(local_spark())
    local_spark.cache_clear()


def test_cancelled_flights_are_counted() -> None:
    flown = {"flight_date": DAY, "carrier": "UA", "dep_time": 517, "dep_delay": 2, "arr_delay": 11}
    cancelled = {"flight_date": DAY, "carrier": "UA"}
    (row,) = compute(daily_delays, flights=[flown, flown | {"dep_delay": 4}, cancelled])
    assert (row["flights"], row["cancelled"], row["mean_dep_delay"], row["max_arr_delay"]) == (3, 1, 3.0, 11)


def test_flights_are_typed() -> None:
    raw = {"year": 2013, "month": 1, "day": 1, "carrier": "UA", "flight": 1545, "dep_time": 517.0}
    (row,) = compute(ingest_flights, flights=[raw])
    assert (row["flight_date"], row["dep_time"], row["arr_time"]) == (DAY, 517, None)


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


@pytest.mark.parametrize("name", ["aggregate_revenue", "aggregate_revenue_sql"])
def test_revenue_is_price_less_discount_by_month(name: str) -> None:
    tables: dict[str, Any] = {"orders": ORDERS, "lineitem": LINES, "customer": CUSTOMERS}
    march, april = compute(registry()[name], **tables)
    assert march == {"month": date(1995, 3, 1), "segment": "BUILDING", "revenue": Decimal("100.05"), "orders": 2}
    assert (april["revenue"], april["orders"]) == (Decimal("0.00"), 1)
    assert compute(registry()[name], {"min_orders": 2}, **tables) == [march]


def test_the_guides_unit_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "adding-an-action.md").read_text()
    example, test = (part.partition("```")[0] for part in guide.split("```python\n")[1:])
    (tmp_path / "distances.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "assets.actions.distances", importlib.import_module("distances"))
    names: dict[str, Any] = {}
    exec(test, names)  # noqa: S102 - our own guide
    names["test_miles_are_added_up"]()


def test_parameters_are_held_to_their_model() -> None:
    with pytest.raises(ActionContractError, match="min_orders"):
        compute(aggregate_revenue, {"min_orders": -1}, orders=[], lineitem=[], customer=[])
