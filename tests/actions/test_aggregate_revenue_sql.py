"""Revenue by month and segment, in SQL."""

from assets.actions.aggregate_revenue import aggregate_revenue
from assets.registry import registry
from assets.testing import compute
from tests.actions.test_aggregate_revenue import TABLES


def test_sql_says_what_python_says() -> None:
    in_sql = registry()["aggregate_revenue_sql"]
    for params in ({}, {"min_orders": 2}):
        assert compute(in_sql, params, **TABLES) == compute(aggregate_revenue, params, **TABLES)
