"""Resolving what an action reads: snapshots by their commits, raw files by what was delivered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.declaration import Action, Landing
from assets.errors import InputCorruptError, InputMissingError
from assets.footers import read_footers
from assets.schema import Schema
from assets.snapshots import Snapshot, open_snapshot, read_files
from contracts.commit import InputUsed
from contracts.identity import Coordinate
from contracts.messages import InputRef
from contracts.storage import CorruptSnapshotError, landing_prefix
from resources.lake import Lake, ObjectInfo

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_COMPRESSED = ("", ".gz", ".zst", ".bz2")


@dataclass(frozen=True, slots=True)
class RawFiles:
    """What was delivered for one landing input."""

    lake: Lake
    prefix: str
    source: Landing
    objects: list[ObjectInfo]

    def to_spark(self, spark: "SparkSession") -> "DataFrame":
        """Return the files as a DataFrame; a malformed line or a foreign header fails the job."""
        urls = [self.lake.spark_url(found.key) for found in self.objects]
        if self.source.format == "parquet":
            return read_files(spark, self.source.schema, urls)
        # enforceSchema=false makes Spark compare the header's names; by default it would trust the order.
        reader = spark.read.options(header="true", enforceSchema="false", mode="FAILFAST", encoding="UTF-8")
        return reader.schema(str(self.source.schema)).csv(urls)


Input = Snapshot | RawFiles


def resolve_inputs(
    action: Action, home: Coordinate, elsewhere: Mapping[str, InputRef], *, lake: Lake, landing: Lake
) -> dict[str, Input]:
    """Return the inputs by parameter name, at ``home``'s entity and version unless ``elsewhere`` names another place.

    Raises InputMissingError, InputCorruptError and the lake's errors.
    """
    if unknown := elsewhere.keys() - action.inputs.keys():
        raise InputMissingError(f"action {action.name} has no input named {', '.join(sorted(unknown))}")
    found: dict[str, Input] = {}
    for name, source in action.inputs.items():
        place = elsewhere.get(name) or InputRef(entity_id=home.entity_id, data_version=home.data_version)
        dataset = name if isinstance(source, Landing) else source
        coordinate = Coordinate(place.entity_id, place.data_version, dataset)
        found[name] = (
            _delivered(landing, coordinate, source) if isinstance(source, Landing) else open_snapshot(lake, coordinate)
        )
    return found


def input_bytes(found: Mapping[str, Input]) -> int:
    """Return the bytes of all files that the inputs name."""
    return sum(entry.size for source in found.values() for entry in source.objects)


def input_used(source: Input) -> InputUsed:
    """Return what the commit records of an input."""
    if isinstance(source, Snapshot):
        return InputUsed(path=source.url, commit_digest=source.digest)
    return InputUsed(path=source.lake.url(source.prefix.rstrip("/")), commit_digest=None)


def _delivered(lake: Lake, coordinate: Coordinate, source: Landing) -> RawFiles:
    prefix = landing_prefix(coordinate)
    endings = tuple(f".{source.format}{packed}" for packed in (_COMPRESSED if source.format == "csv" else ("",)))
    objects = [found for found in lake.list(prefix) if found.key.endswith(endings)]
    if not objects:
        raise InputMissingError(f"nothing was delivered: no {source.format} file below {lake.url(prefix)}")
    if source.format == "parquet":
        _check_columns(lake, source.schema, objects)
    return RawFiles(lake, prefix, source, objects)


def _check_columns(lake: Lake, declared: Schema, objects: list[ObjectInfo]) -> None:
    # Spark fills a missing column with nulls and drops a surplus one without a word.
    try:
        footers = read_footers(lake, objects)
    except CorruptSnapshotError as error:
        raise InputCorruptError(str(error)) from error
    for footer in footers:
        if difference := declared.difference(footer.schema):
            raise InputCorruptError(f"{lake.url(footer.key)} is not what the action declares: {difference}")
