"""The same work as a plain script for ``spark-submit``: no checks, no commit, nobody to tell.

spark-submit bench/stock/job.py ACTION TARGET NAME=SOURCE…
"""

import sys
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - how Spark code is read


def rewrite(lineitem: DataFrame) -> DataFrame:
    """Return the items as they are: see assets/actions/ingest_lineitem.py."""
    return lineitem


def aggregate_revenue(orders: DataFrame, lineitem: DataFrame, customer: DataFrame) -> DataFrame:
    """Return net revenue and orders, by month and segment: see assets/actions/aggregate_revenue.py."""
    return (
        lineitem.join(orders, lineitem["l_orderkey"] == orders["o_orderkey"])
        .join(customer, orders["o_custkey"] == customer["c_custkey"])
        .groupBy(F.trunc("o_orderdate", "month").alias("month"), F.col("c_mktsegment").alias("segment"))
        .agg(
            F.sum(F.col("l_extendedprice") * (1 - F.col("l_discount"))).cast("decimal(18,2)").alias("revenue"),
            F.count_distinct("o_orderkey").alias("orders"),
        )
        .orderBy("month", "segment")
    )


JOBS: dict[str, Callable[..., DataFrame]] = {"ingest_lineitem": rewrite, "aggregate_revenue": aggregate_revenue}

if __name__ == "__main__":
    action, target, *sources = sys.argv[1:]
    session = SparkSession.builder.appName(action).getOrCreate()
    inputs = {name: session.read.parquet(url) for name, _, url in (source.partition("=") for source in sources)}
    JOBS[action](**inputs).write.parquet(target)
    session.stop()
