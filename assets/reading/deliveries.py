"""Raw files as they were delivered: reading them as the declared schema says, and counting the rows that do not fit.

Spark stops at the first row that is not what was declared. Only then the files are read once more, to tell how many
rows are bad and where the first ones stand; good deliveries pay nothing for it.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from assets.declaration import Landing
from assets.errors import InputCorruptError
from assets.reading import columns, lines
from assets.reading.lines import BAD_ROW, FILE, FITS
from assets.tables.footers import Footer
from resources.lake.store import Lake, ObjectInfo

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_AT = "its number"
_EXAMPLES = 3
_PACKED = ("", ".gz", ".zst", ".bz2")
_PLAIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9 ._=+@,-]*/)*[A-Za-z0-9][A-Za-z0-9 ._=+@,-]*\Z")
PLAIN_NAMES = "use letters, digits and ' ._=+@,-', a letter or digit first"
# A split has no more bytes than the first; no fewer than the second, which each file costs besides its own.
_SPLITS = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
_MORE_THAN_ANY_FILE = str(2**50)
_TASK_IDS = 2**33
"""As many monotonically increasing ids Spark keeps for each task."""


@dataclass(frozen=True, slots=True)
class RawFiles:
    """What was delivered for one landing input; ``footers`` of Parquet files only."""

    lake: Lake
    prefix: str
    source: Landing
    objects: list[ObjectInfo]
    footers: list[Footer]

    def rows(self, spark: "SparkSession") -> int:
        """Return how many rows there are. Text has to be read for it."""
        if self.source.format == "parquet":
            return sum(footer.rows for footer in self.footers)
        return self.to_spark(spark).count()

    def to_spark(self, spark: "SparkSession") -> "DataFrame":
        """Return the files as a DataFrame; a row that does not fit the declared schema fails the job."""
        if self.source.format == "parquet":
            return columns.fitting(spark, self.source.schema, self._urls)
        return lines.fitting(spark, self.source, self._urls)

    def complaint(self, spark: "SparkSession") -> str | None:
        """Say how many rows of how many are not what was declared, and where the first stand; None if all fit."""
        from pyspark.sql import functions as F  # noqa: N812, PLC0415 - how Spark code is read; only runs need it

        with _one_task_for_each_file(spark):
            # The header of CSV is 0.
            place = F.monotonically_increasing_id() % _TASK_IDS + (0 if self.source.format == "csv" else 1)
            by_file = (
                self._judged(spark)
                .withColumn(_AT, place)
                .where(F.col(_AT) > 0)
                .groupBy(FILE)
                .agg(
                    F.count("*").alias("rows"),
                    F.count_if(~F.col(FITS)).alias("bad"),
                    F.min(F.when(~F.col(FITS), F.col(_AT))).alias("first"),
                )
            )
            files = by_file.orderBy(FILE).collect()
        bad, count = (sum(file[name] for file in files) for name in ("bad", "rows"))
        wrong = [f"{PurePosixPath(file[FILE]).name} row {file['first']}" for file in files if file["bad"]]
        told = f"{bad} of {count} rows below {self.lake.url(self.prefix)} do not fit the declared schema"
        return f"{told}; the first: {', '.join(wrong[:_EXAMPLES])}" if wrong else None

    def _judged(self, spark: "SparkSession") -> "DataFrame":
        if self.source.format == "parquet":
            return columns.judged(spark, self.source.schema, self._urls)
        return lines.judged(spark, self.source, self._urls)

    @property
    def _urls(self) -> list[str]:
        return [self.lake.spark_url(found.key) for found in self.objects]


@contextmanager
def _one_task_for_each_file(spark: "SparkSession") -> Iterator[None]:
    """Let one task read a file from its first row to its last, and so number them."""
    before = {name: str(spark.conf.get(name)) for name in _SPLITS}
    for name in _SPLITS:
        spark.conf.set(name, _MORE_THAN_ANY_FILE)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


@contextmanager
def bad_rows_counted(spark: "SparkSession", delivered: Iterable[object]) -> Iterator[None]:
    """Raise InputCorruptError when the block fails because of bad rows in what was ``delivered``: how many, and where.

    Every other error stays what it is.
    """
    try:
        yield
    except Exception as error:
        if BAD_ROW in str(error):
            told = [each.complaint(spark) for each in delivered if isinstance(each, RawFiles)]
            found = [complaint for complaint in told if complaint]
            raise InputCorruptError("; ".join(found) or f"{BAD_ROW}; the delivery has changed since") from error
        raise


def is_plain(name: str) -> bool:
    """Return whether Spark takes the name of a file, below its folder, for nothing but that file.

    To Spark ``..`` leads to another folder, ``*`` or ``{a,b}`` are patterns, and what begins with ``_`` or a dot is not
    there at all; the store takes all for letters.
    """
    return _PLAIN.match(name) is not None


def endings(source: Landing) -> tuple[str, ...]:
    """Return how the names of the files end that are read: text may be packed."""
    packed = ("",) if source.format == "parquet" else _PACKED
    return tuple(f".{source.format}{ending}" for ending in packed)
