"""The unit test of an action in three lines: rows in, rows out, no storage and no services.

def test_cancelled_flights_are_counted() -> None:
    rows = compute(daily_delays, flights=[{"flight_date": DAY, "carrier": "UA", "dep_time": None}])
    assert rows[0]["cancelled"] == 1
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from assets.declaration import Action, Landing
from assets.registry import registry
from assets.running.transform import parse_params, transform
from assets.tables.schema import Schema
from resources.spark.jvm import live_in_utc

Row = Mapping[str, Any]


@cache
def local_spark() -> SparkSession:
    """Return one small session for all tests of a process, with the settings that change results in a run."""
    live_in_utc()
    settings = {
        "spark.master": "local[1]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.shuffle.partitions": "1",
    }
    return SparkSession.builder.config(map=dict(settings)).getOrCreate()


def compute(action: Action, params: Row | None = None, **inputs: Sequence[Row]) -> list[dict[str, Any]]:
    """Run ``action`` over rows and return its rows. A column that a row leaves out is null.

    The inputs have the columns of the raw files, or of the action that makes the dataset. Raises ActionContractError
    when the result is not what the action declares, and whatever the action raises.
    """
    spark = local_spark()
    frames = {name: _frame(spark, _schema(source), inputs[name]) for name, source in action.inputs.items()}
    result = transform(action, frames, parse_params(action, params or {}))
    return [row.asDict(recursive=True) for row in result.collect()]


def _schema(source: str | Landing) -> Schema:
    if isinstance(source, Landing):
        return source.schema
    return next(action.schema for action in registry() if action.output == source)


def _frame(spark: SparkSession, schema: Schema, rows: Sequence[Row]) -> DataFrame:
    values = [tuple(row.get(name) for name in schema.names) for row in rows]
    return spark.createDataFrame(values, StructType.fromJson(json.loads(schema.to_json())))
