"""Resolving what an action reads: snapshots by their commits, raw files by what was delivered."""

from collections.abc import Callable, Mapping

from assets.declaration import Action, Landing
from assets.errors import InputCorruptError, InputMissingError
from assets.reading.deliveries import PLAIN_NAMES, RawFiles, endings, is_plain
from assets.reading.headers import refuse_foreign_headers
from assets.reading.unpacking import refuse_too_large, too_large
from assets.snapshots.reader import Snapshot, open_snapshot
from assets.snapshots.verify import file_problems
from assets.tables.footers import Footer, read_footers
from assets.tables.schema import Schema
from contracts.commit import InputUsed
from contracts.identity import Coordinate
from contracts.messages import InputRef
from contracts.storage import CorruptSnapshotError, SnapshotError
from resources.lake.store import Lake, ObjectInfo

Input = Snapshot | RawFiles
Delivery = Callable[[Coordinate], tuple[Lake, str]]

_EXAMPLES = 3


def resolve_inputs(
    action: Action,
    home: Coordinate,
    elsewhere: Mapping[str, InputRef],
    *,
    lake: Lake,
    delivery: Delivery,
    unpacked_bytes: int,
) -> dict[str, Input]:
    """Return the inputs by parameter name, at ``home``'s entity and version unless ``elsewhere`` names another place.

    ``delivery`` says where the raw files of a coordinate lie.

    Raises InputMissingError, InputCorruptError, InputTooLargeError for raw files that unpack to more than
    ``unpacked_bytes``, and the lake's errors.
    """
    if unknown := elsewhere.keys() - action.inputs.keys():
        raise InputMissingError(f"action {action.name} has no input named {', '.join(sorted(unknown))}")
    found: dict[str, Input] = {}
    for name, source in action.inputs.items():
        place = elsewhere.get(name) or InputRef(entity_id=home.entity_id, data_version=home.data_version)
        dataset = name if isinstance(source, Landing) else source
        coordinate = Coordinate(place.entity_id, place.data_version, dataset)
        if isinstance(source, Landing):
            found[name] = _delivered(*delivery(coordinate), source, unpacked_bytes)
        else:
            found[name] = _published(lake, coordinate)
    return found


def input_bytes(found: Mapping[str, Input]) -> int:
    """Return the bytes of all files that the inputs name."""
    return sum(entry.size for source in found.values() for entry in source.objects)


def input_used(source: Input) -> InputUsed:
    """Return what the commit records of an input."""
    if isinstance(source, Snapshot):
        return InputUsed(path=source.url, commit_digest=source.digest)
    return InputUsed(path=source.lake.url(source.prefix.rstrip("/")), commit_digest=None)


def _published(lake: Lake, coordinate: Coordinate) -> Snapshot:
    try:
        found = open_snapshot(lake, coordinate)
    except CorruptSnapshotError as error:
        raise InputCorruptError(str(error)) from error
    except SnapshotError as error:
        raise InputMissingError(str(error)) from error
    # Spark believes the files: it would read rows that no commit vouches for, and nulls for a column that is gone.
    if problems := file_problems(found):
        raise InputCorruptError(f"{found.url} is not what its commit says: {'; '.join(problems[:_EXAMPLES])}")
    return found


def _delivered(lake: Lake, prefix: str, source: Landing, unpacked_bytes: int) -> RawFiles:
    objects = [found for found in lake.list(prefix) if found.key.endswith(endings(source))]
    if not objects:
        raise InputMissingError(f"nothing was delivered: no {source.format} file below {lake.url(prefix)}")
    if odd := [found.key for found in objects if not is_plain(found.key.removeprefix(prefix))]:
        raise InputCorruptError(f"{lake.url(prefix)}: {odd[0][:200]!r} has no plain name; {PLAIN_NAMES}")
    if source.format == "parquet":
        return RawFiles(lake, prefix, source, objects, _checked_footers(lake, source.schema, objects, unpacked_bytes))
    refuse_too_large(lake, objects, unpacked_bytes)
    if source.format == "csv":
        refuse_foreign_headers(lake, objects, source.schema.names)
    return RawFiles(lake, prefix, source, objects, [])


def _checked_footers(lake: Lake, declared: Schema, objects: list[ObjectInfo], unpacked_bytes: int) -> list[Footer]:
    # Spark fills a missing column with nulls and drops a surplus one without a word.
    try:
        footers = read_footers(lake, objects)
    except CorruptSnapshotError as error:
        raise InputCorruptError(str(error)) from error
    total = 0
    for footer, found in zip(footers, objects, strict=True):
        # A run of equal values is a few bytes, however long; in memory each value is at least one.
        total += max(footer.unpacked, footer.rows * len(footer.schema.columns))
        if total > unpacked_bytes:
            raise too_large(lake, found, unpacked_bytes)
        if difference := declared.difference(footer.schema):
            raise InputCorruptError(f"{lake.url(footer.key)} is not what the action declares: {difference}")
    return footers
