"""TPC-H customers as they were delivered."""

from pyspark.sql import DataFrame

from assets.declaration import action, at_least, landing, not_null, unique

COLUMNS = """
    c_custkey bigint, c_name string, c_address string, c_nationkey bigint, c_phone string, c_acctbal decimal(15,2),
    c_mktsegment string, c_comment string
"""


@action(
    inputs={"customer": landing("parquet", COLUMNS)},
    output="customer",
    schema=COLUMNS,
    checks=[not_null("c_custkey", "c_mktsegment"), unique("c_custkey"), at_least(rows=1)],
)
def ingest_customer(customer: DataFrame) -> DataFrame:
    """One row per customer."""
    return customer
