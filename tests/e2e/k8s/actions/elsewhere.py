"""Wants an image of its own, which the deployment of the tests names and nobody has."""

from pyspark.sql import DataFrame

from assets.declaration import action, landing


@action(
    inputs={"numbers": landing("csv", "n bigint")},
    output="elsewhere",
    schema="n bigint",
    profile="small",
    image="nowhere",
)
def elsewhere(numbers: DataFrame) -> DataFrame:
    """Return what came."""
    return numbers.select("n")
