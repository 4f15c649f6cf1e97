"""Reading snapshots: the commit first, then exactly the files it names. Never a listing, never ``_SUCCESS``."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.errors import InputCorruptError, InputMissingError
from assets.schema import Schema
from contracts.commit import Commit, digest
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, commit_key, dataset_prefix, token_prefix
from resources.lake import Lake, ObjectInfo

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
    def objects(self) -> list[ObjectInfo]:
        """The data files as the commit names them: key and size in bytes."""
        folder = token_prefix(self.commit.coordinate, self.commit.provenance.token)
        return [ObjectInfo(folder + file.name, file.size) for file in self.commit.files]

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
    return Snapshot(lake, commit, digest(data), schema)


def open_snapshot(lake: Lake, coordinate: Coordinate) -> Snapshot:
    """Return what is published at ``coordinate``. Raises InputMissingError, InputCorruptError, the lake's errors."""
    try:
        found = find_snapshot(lake, coordinate)
    except CorruptSnapshotError as error:
        raise InputCorruptError(str(error)) from error
    if found is None:
        raise InputMissingError(f"{coordinate} is not published; there is no {lake.url(commit_key(coordinate))}")
    return found
