"""``python -m deploy.local.training ARCHIVE``: a small job whose classes become the archive."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own custom

from contracts.messages import Profile
from resources.lake.store import S3Lake
from resources.settings import compute_settings
from resources.spark.session import SparkSessions

_CSV = "day,name,amount\n" + "".join(f"2013-01-{n % 28 + 1:02d},n{n % 7},{n}.5\n" for n in range(200))
_SCHEMA = "day date, name string, amount double"


def main(archive: Path) -> None:
    """Read CSV, write and read Parquet with the magic committer, join, aggregate, sort; in Python and in SQL."""
    settings = compute_settings()
    lake = S3Lake(settings, settings.lake_bucket)
    lake.put("training/raw/raw.csv", _CSV.encode())
    sessions = SparkSessions(settings, java_options=f"-XX:ArchiveClassesAtExit={archive}")
    try:
        _job(sessions.open(Profile(executor_instances=0)), lake.spark_url("training/"))
    finally:
        sessions.close()


def _job(spark: SparkSession, folder: str) -> None:
    raw = spark.read.options(header="true", enforceSchema="false").schema(_SCHEMA).csv(f"{folder}raw/")
    raw.select(F.col("day"), "name", F.col("amount").cast("decimal(15,2)").alias("amount")).write.parquet(f"{folder}a/")
    rows = spark.read.parquet(f"{folder}a/")
    daily = rows.groupBy("day", "name").agg(
        F.count("*").alias("rows"), F.avg("amount").alias("mean"), F.percentile("amount", 0.9).alias("p90")
    )
    rows.join(daily, ["day", "name"]).orderBy("day").write.parquet(f"{folder}b/")
    rows.createOrReplaceTempView("rows")
    spark.sql(
        "SELECT trunc(day, 'month') m, sum(amount) s, count(DISTINCT name) n FROM rows GROUP BY ALL"
    ).write.parquet(f"{folder}c/")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
