"""Takes memory where it is told to, more than a small pod has."""

from typing import Literal

from pydantic import BaseModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from assets.declaration import action, landing


class Hunger(BaseModel):
    """Where, and how much."""

    where: Literal["driver", "executor"]
    megabytes: int


@action(inputs={"numbers": landing("csv", "n bigint")}, output="eaten", schema="n bigint, items int", profile="medium")
def memory_hog(numbers: DataFrame, params: Hunger) -> DataFrame:
    """Count what was taken."""
    if params.where == "driver":
        taken = bytearray(params.megabytes * 1024 * 1024)
        for place in range(0, len(taken), 4096):  # memory counts once it is written to
            taken[place] = 1
        return numbers.select("n", F.lit(len(taken)).alias("items"))
    items = params.megabytes * 1024 * 1024 // 8
    return numbers.select("n", F.size(F.sequence(F.lit(1), F.lit(items) + F.col("n"))).alias("items"))
