"""How late a carrier was, day by day."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from assets.declaration import action, at_least, not_null, unique


@action(
    inputs={"flights": "flights"},
    output="daily_delays",
    schema="""
        flight_date date, carrier string, flights bigint, cancelled bigint,
        mean_dep_delay double, p90_dep_delay double, max_dep_delay int,
        mean_arr_delay double, p90_arr_delay double, max_arr_delay int
    """,
    checks=[
        not_null("flight_date", "carrier", "flights", "cancelled"),
        unique("flight_date", "carrier"),
        at_least(rows=1),
    ],
    sort_by=["flight_date", "carrier"],
)
def daily_delays(flights: DataFrame) -> DataFrame:
    """Flights, cancellations and delays in minutes, by day. A flight without a departure time was cancelled."""
    return (
        flights.groupBy("flight_date", "carrier")
        .agg(
            F.count("*").alias("flights"),
            F.count_if(F.col("dep_time").isNull()).alias("cancelled"),
            F.avg("dep_delay").alias("mean_dep_delay"),
            F.percentile("dep_delay", 0.9).alias("p90_dep_delay"),
            F.max("dep_delay").alias("max_dep_delay"),
            F.avg("arr_delay").alias("mean_arr_delay"),
            F.percentile("arr_delay", 0.9).alias("p90_arr_delay"),
            F.max("arr_delay").alias("max_arr_delay"),
        )
        .select(
            "flight_date",
            "carrier",
            "flights",
            "cancelled",
            "mean_dep_delay",
            "p90_dep_delay",
            "max_dep_delay",
            "mean_arr_delay",
            "p90_arr_delay",
            "max_arr_delay",
        )
    )
