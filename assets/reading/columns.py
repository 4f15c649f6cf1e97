"""Files of Parquet as rows: their footers tell the types, and here the values are held to them.

What an action does not ask for is not read, and so not judged; text, where a row is known by all of it, always is.
"""

from typing import TYPE_CHECKING

from assets.reading.lines import BAD_ROW, FILE, FITS
from assets.snapshots.reader import read_files
from assets.tables.schema import Schema
from assets.tables.soundness import flaws, sound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def judged(spark: "SparkSession", schema: Schema, urls: list[str]) -> "DataFrame":
    """Return for each row, in order, FILE, and FITS: whether all its values are of their declared types."""
    found = [condition for column in schema.columns for _, condition in flaws(column, decimals=True)]
    fits = f"NOT coalesce({' OR '.join(['false', *found])}, false)"
    return read_files(spark, schema, urls).selectExpr(f"input_file_name() AS `{FILE}`", f"{fits} AS `{FITS}`")


def fitting(spark: "SparkSession", schema: Schema, urls: list[str]) -> "DataFrame":
    """Return the rows. A value that is none of its declared type fails the job that reads it, which says BAD_ROW."""
    held = (sound(column, BAD_ROW, decimals=True) for column in schema.columns)
    return read_files(spark, schema, urls).selectExpr(*held)
