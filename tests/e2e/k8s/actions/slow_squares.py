"""Squares that take their time: long enough to kill something in the middle."""

from pydantic import BaseModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from assets.declaration import action, at_least, landing, not_null


class Pace(BaseModel):
    """How long each number takes."""

    milliseconds: int = 0


@action(
    inputs={"numbers": landing("csv", "n bigint")},
    output="squares",
    schema="n bigint, square bigint, slept string",
    checks=[not_null("n", "square"), at_least(rows=1)],
    profile="medium",
)
def slow_squares(numbers: DataFrame, params: Pace) -> DataFrame:
    """Each number with its square, eight tasks in all."""
    slept = F.expr(f"java_method('java.lang.Thread', 'sleep', {params.milliseconds}L)")
    square = F.col("n") * F.col("n")
    return numbers.repartition(8, "n").select("n", square.alias("square"), slept.alias("slept"))
