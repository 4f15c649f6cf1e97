"""TPC-H orders as they were delivered."""

from pyspark.sql import DataFrame

from assets.declaration import action, at_least, landing, not_null, unique

COLUMNS = """
    o_orderkey bigint, o_custkey bigint, o_orderstatus string, o_totalprice decimal(15,2), o_orderdate date,
    o_orderpriority string, o_clerk string, o_shippriority int, o_comment string
"""


@action(
    inputs={"orders": landing("parquet", COLUMNS)},
    output="orders",
    schema=COLUMNS,
    checks=[not_null("o_orderkey", "o_custkey", "o_orderdate"), unique("o_orderkey"), at_least(rows=1)],
    profile="medium",
)
def ingest_orders(orders: DataFrame) -> DataFrame:
    """One row per order."""
    return orders
