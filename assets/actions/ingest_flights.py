"""Flights as they were delivered, typed."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from assets.declaration import action, at_least, landing, not_null

RAW = """
    year int, month int, day int, dep_time double, sched_dep_time int, dep_delay double, arr_time double,
    sched_arr_time int, arr_delay double, carrier string, flight int, tailnum string, origin string, dest string,
    air_time double, distance int, hour int, minute int, time_hour timestamp
"""


@action(
    inputs={"flights": landing("csv", RAW)},
    output="flights",
    schema="""
        flight_date date, carrier string, flight int, tailnum string, origin string, dest string, sched_dep_time int,
        dep_time int, dep_delay int, sched_arr_time int, arr_time int, arr_delay int, air_time int, distance int,
        scheduled_hour timestamp
    """,
    checks=[not_null("flight_date", "carrier", "flight", "origin", "dest"), at_least(rows=1)],
)
def ingest_flights(flights: DataFrame) -> DataFrame:
    """Departures of one carrier in one month, one row per flight. Times are hhmm, delays and air time minutes."""
    return flights.select(
        F.make_date("year", "month", "day").alias("flight_date"),
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        "sched_dep_time",
        # Delivered as 517.0, because the source has no integers with gaps.
        F.col("dep_time").cast("int").alias("dep_time"),
        F.col("dep_delay").cast("int").alias("dep_delay"),
        "sched_arr_time",
        F.col("arr_time").cast("int").alias("arr_time"),
        F.col("arr_delay").cast("int").alias("arr_delay"),
        F.col("air_time").cast("int").alias("air_time"),
        "distance",
        F.col("time_hour").alias("scheduled_hour"),
    )
