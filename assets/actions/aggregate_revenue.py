"""What customers paid, by month and market segment."""

from pydantic import BaseModel, ConfigDict, Field
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from assets.declaration import action, at_least, not_null, unique


class RevenueParams(BaseModel):
    """What to leave out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_orders: int = Field(0, ge=0, description="Months and segments with fewer orders are left out.")


@action(
    inputs={"orders": "orders", "lineitem": "lineitem", "customer": "customer"},
    output="revenue",
    schema="month date, segment string, revenue decimal(18,2), orders bigint",
    checks=[not_null("month", "segment", "revenue"), unique("month", "segment"), at_least(rows=1)],
    sort_by=["month", "segment"],
    profile="medium",
)
def aggregate_revenue(orders: DataFrame, lineitem: DataFrame, customer: DataFrame, params: RevenueParams) -> DataFrame:
    """Net revenue (price less discount) and number of orders, by month of order and market segment."""
    sales = (
        lineitem.join(orders, lineitem["l_orderkey"] == orders["o_orderkey"])
        .join(customer, orders["o_custkey"] == customer["c_custkey"])
        .groupBy(F.trunc("o_orderdate", "month").alias("month"), F.col("c_mktsegment").alias("segment"))
        .agg(
            F.sum(F.col("l_extendedprice") * (1 - F.col("l_discount"))).alias("net"),
            F.count_distinct("o_orderkey").alias("orders"),
        )
        .where(F.col("orders") >= params.min_orders)
    )
    return sales.select("month", "segment", F.col("net").cast("decimal(18,2)").alias("revenue"), "orders")
