"""The cheapest real action: the delivered rows, checked and published as they are."""

from pyspark.sql import DataFrame

from assets.declaration import action, at_least, landing, not_null, unique

COLUMNS = "number bigint, word string"


@action(
    inputs={"rows": landing("parquet", COLUMNS)},
    output="kept",
    schema=COLUMNS,
    checks=[not_null("number"), unique("number"), at_least(rows=1)],
    profile="small",
)
def keep_rows(rows: DataFrame) -> DataFrame:
    """One row for each delivered one."""
    return rows
