"""The one reader of snapshots: the commit first, then exactly the files it names. Never a listing, never ``_SUCCESS``.

Arrow and Spark are imported where they are used: whoever wants to know what is published needs neither.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets.tables.schema import Schema
from contracts.commit import Commit, DataFile, digest
from contracts.identity import Coordinate
from contracts.storage import (
    CorruptSnapshotError,
    MissingSnapshotError,
    RetiredSnapshotError,
    commit_key,
    dataset_prefix,
    token_prefix,
    tombstone_key,
)
from resources.lake.store import Lake, ObjectInfo

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """What a commit tells of one column over all its files; each None when one of the files does not say."""

    nulls: int | None
    minimum: Any
    """As JSON spells it: a number, or a date as text."""
    maximum: Any


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published dataset at one coordinate."""

    lake: Lake
    commit: Commit
    digest: str
    """SHA-256 (hex) of the commit."""
    schema: Schema

    @property
    def url(self) -> str:
        """The folder that any Delta reader opens."""
        return self.lake.url(dataset_prefix(self.commit.coordinate).rstrip("/"))

    @property
    def folder(self) -> str:
        """The token folder's key, ending in a slash."""
        return token_prefix(self.commit.coordinate, self.commit.provenance.token)

    @property
    def objects(self) -> list[ObjectInfo]:
        """The data files as the commit names them: key, size in bytes, ETag."""
        return [ObjectInfo(self.folder + file.name, file.size, file.etag) for file in self.commit.files]

    @property
    def statistics(self) -> dict[str, ColumnStatistics]:
        """Column → what the commit tells of it."""
        return {name: _statistics(name, self.commit.files) for name in self.schema.names}

    def tables(self) -> "Iterator[pa.Table]":
        """Yield each file as an Arrow table, decoded as a whole: one file at a time is held in memory.

        Raises CorruptSnapshotError for a file that is not what the commit says, and the lake's errors.
        """
        from assets.tables.decoding import decode  # noqa: PLC0415 - not everybody needs Arrow

        for file, found in zip(self.commit.files, self.objects, strict=True):
            yield decode(self.lake, found, file.rows, self.schema)

    def to_arrow(self, heard: Callable[[], None] = lambda: None) -> "pa.Table":
        """Return the snapshot as one Arrow table, in memory. ``heard`` is called after each file.

        Raises as ``tables`` does, and CorruptSnapshotError for a type that is not the contract's.
        """
        import pyarrow as pa  # noqa: PLC0415

        from assets.tables.arrow_types import arrow_schema  # noqa: PLC0415

        try:
            tables = [arrow_schema(self.schema).empty_table()]
        except ValueError as error:
            raise CorruptSnapshotError(f"{self.commit.coordinate}: the commit's schema: {error}") from error
        for table in self.tables():
            tables.append(table)
            heard()
        return pa.concat_tables(tables)

    def rows(self, _spark: "SparkSession") -> int:
        """Return how many rows it has, by its commit."""
        return self.commit.rows

    def to_spark(self, spark: "SparkSession") -> "DataFrame":
        """Return the snapshot as a DataFrame over exactly its files."""
        return read_files(spark, self.schema, [self.lake.spark_url(found.key) for found in self.objects])


def read_files(spark: "SparkSession", schema: Schema, urls: list[str]) -> "DataFrame":
    """Return exactly these Parquet files as a DataFrame of ``schema``."""
    from pyspark.sql.types import StructType  # noqa: PLC0415 - the code location starts without Spark

    structure = StructType.fromJson(json.loads(schema.to_json()))
    return spark.read.schema(structure).parquet(*urls) if urls else spark.createDataFrame([], structure)


def find_snapshot(lake: Lake, coordinate: Coordinate) -> Snapshot | None:
    """Return what is published at ``coordinate``, or None. Raises CorruptSnapshotError and the lake's errors."""
    data = lake.get(commit_key(coordinate))
    if data is None:
        return None
    commit = Commit.parse(data, coordinate)
    try:
        schema = Schema.from_json(commit.schema_string)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptSnapshotError(f"{coordinate}: the commit's schema cannot be read: {error}") from error
    for file in commit.files:
        if unknown := file.columns - set(schema.names):
            raise CorruptSnapshotError(f"{coordinate}: the commit has statistics of {min(unknown)!r}, no column")
    return Snapshot(lake, commit, digest(data), schema)


def open_snapshot(lake: Lake, coordinate: Coordinate) -> Snapshot:
    """Return what is published at ``coordinate``.

    Raises MissingSnapshotError, RetiredSnapshotError, CorruptSnapshotError (ForeignSnapshotError, NewerSnapshotError),
    and the lake's errors.
    """
    found = find_snapshot(lake, coordinate)
    if found is not None:
        return found
    key = tombstone_key(coordinate)
    if lake.get(key) is not None:
        raise RetiredSnapshotError(f"{coordinate} was retired, for ever: see {lake.url(key)}")
    raise MissingSnapshotError(f"{coordinate} is not published; there is no {lake.url(commit_key(coordinate))}")


def _statistics(name: str, files: list[DataFile]) -> ColumnStatistics:
    nulls = [file.null_counts.get(name) for file in files]
    # A file without any value of the column has no bounds, and needs none.
    filled = [file for file in files if file.null_counts.get(name) != file.rows]
    low: list[Any] = [file.min_values.get(name) for file in filled]
    high: list[Any] = [file.max_values.get(name) for file in filled]
    return ColumnStatistics(
        nulls=None if None in nulls else sum(count for count in nulls if count is not None),
        minimum=None if None in low else min(low, default=None),
        maximum=None if None in high else max(high, default=None),
    )
