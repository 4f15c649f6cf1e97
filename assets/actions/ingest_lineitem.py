"""TPC-H line items as they were delivered."""

from pyspark.sql import DataFrame

from assets.declaration import action, at_least, landing, not_null

COLUMNS = """
    l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, l_quantity decimal(15,2),
    l_extendedprice decimal(15,2), l_discount decimal(15,2), l_tax decimal(15,2), l_returnflag string,
    l_linestatus string, l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct string,
    l_shipmode string, l_comment string
"""


@action(
    inputs={"lineitem": landing("parquet", COLUMNS)},
    output="lineitem",
    schema=COLUMNS,
    checks=[not_null("l_orderkey", "l_linenumber", "l_extendedprice", "l_discount"), at_least(rows=1)],
    profile="medium",
)
def ingest_lineitem(lineitem: DataFrame) -> DataFrame:
    """One row per item of an order."""
    return lineitem
