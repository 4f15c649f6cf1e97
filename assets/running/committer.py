"""From what Spark wrote to a commit: the token folder is exactly what the magic committer finished, nothing lies beside
it that the action wrote by itself, and every footer agrees with the declared schema.

Nothing here decides success: the conditional PUT of the commit does (``publication.py``).
"""

from collections.abc import Sequence
from typing import Any

from assets.errors import ActionContractError, AlreadyPublishedError, CommitterError
from assets.tables.footers import Footer, OutOfRangeError, read_footers
from assets.tables.schema import Schema
from contracts.commit import DataFile
from contracts.identity import Coordinate
from contracts.storage import (
    DATA_FILE,
    MAX_FILES,
    CorruptSnapshotError,
    dataset_prefix,
    is_stray_key,
    log_prefix,
    success_name,
    token_prefix,
)
from contracts.strict_json import MalformedJsonError, loads
from resources.lake.store import Lake, LakeError, ObjectInfo

_TOLD_AT_MOST = 5  # keys may be long, and the rest of a folder is alike
_NAMED_AT_MOST = 100  # Hadoop cuts the list of file names in _SUCCESS there


def refuse_occupied(lake: Lake, coordinate: Coordinate) -> None:
    """Return unless something lies at ``coordinate`` that none of our executions keeps there.

    What is there before we begin is nobody's to remove, or to publish beside: another's table whose first log entry was
    cleaned away, somebody's files. Raises AlreadyPublishedError and the lake's errors.
    """
    strays = [found.key for found in lake.list(dataset_prefix(coordinate)) if is_stray_key(found.key)]
    if strays:
        raise AlreadyPublishedError(f"something else lies at the coordinate. Files: {len(strays)}: {_named(strays)}")


def finished_files(lake: Lake, coordinate: Coordinate, token: str) -> list[Footer]:
    """Return the footers of all data files of the execution ``token``.

    Raises CommitterError when its folder is not exactly what one finished job of the magic committer left, and
    ActionContractError for values that no snapshot may hold, and when there are files at the coordinate that have no
    place there, once they are removed.
    """
    folder = token_prefix(coordinate, token)
    success = _success_marker(lake, folder)
    listed = list(lake.list(dataset_prefix(coordinate)))
    _refuse_strays(lake, coordinate, [entry.key for entry in listed])
    in_folder = (entry for entry in listed if entry.key.startswith(folder))
    found = [entry for entry in in_folder if entry.key not in {folder, success_name(folder)}]
    _compare(found, success, folder)
    try:
        return read_footers(lake, found)
    except OutOfRangeError as error:
        raise ActionContractError(f"the result cannot be published: {error}") from error
    except CorruptSnapshotError as error:
        raise CommitterError(f"what was just written cannot be read back: {error}") from error


def data_files(footers: Sequence[Footer], folder: str, schema: Schema) -> list[DataFile]:
    """Return the commit's entries. Raises CommitterError when a file's columns are not the declared ones."""
    for footer in footers:
        if difference := schema.difference(footer.schema):
            raise CommitterError(f"{footer.key}: {difference}")
    return [
        DataFile(
            name=footer.key.removeprefix(folder),
            size=footer.size,
            rows=footer.rows,
            null_counts=footer.null_counts,
            min_values=footer.min_values,
            max_values=footer.max_values,
            etag=footer.etag,
        )
        for footer in footers
    ]


def _refuse_strays(lake: Lake, coordinate: Coordinate, keys: list[str]) -> None:
    strays = [key for key in keys if is_stray_key(key)]
    if not strays:
        return
    # Whatever lies in the log makes or breaks a table, perhaps one that is not ours.
    removable = [key for key in strays if not key.startswith(log_prefix(coordinate))]
    markers = [key for key in keys if key.endswith("/") and key != dataset_prefix(coordinate)]
    emptied = [marker for marker in markers if any(key.startswith(marker) for key in removable)]
    try:
        lake.delete([*removable, *emptied])
        told = "removed" if removable == strays else "removed, but for those in the log, which people have to judge"
    except LakeError as error:  # the reason is the action's, whether its files can be removed or not
        told = f"which this run could not remove ({error})"
    raise ActionContractError(
        f"an attempt has written beside its result; let the action return what it computes, and write nothing. "
        f"Files: {len(strays)}, {told}: {_named(strays)}"
    )


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_TOLD_AT_MOST]) + (", …" if len(keys) > _TOLD_AT_MOST else "")


def _success_marker(lake: Lake, folder: str) -> dict[str, Any]:
    body = lake.get(success_name(folder))
    if not body:
        raise CommitterError(f"{lake.url(folder)}: _SUCCESS is {'missing' if body is None else 'empty'}: {_REMEDY}")
    try:
        marker = loads(body)
    except MalformedJsonError as error:
        raise CommitterError(f"{lake.url(folder)}: _SUCCESS is not JSON: {_REMEDY}") from error
    if not isinstance(marker, dict) or marker.get("committer") != "magic" or marker.get("success") is not True:
        raise CommitterError(f"{lake.url(folder)}: _SUCCESS does not name the magic committer: {_REMEDY}")
    return marker


_REMEDY = "Spark did not write with the magic committer; check the committer's settings and jars"


def _compare(found: list[ObjectInfo], success: dict[str, Any], folder: str) -> None:
    keys = {entry.key for entry in found}
    named = {str(name).lstrip("/") for name in success.get("filenames", ())}
    strangers = sorted(key for key in keys if not DATA_FILE.fullmatch(key.removeprefix(folder)))
    if strangers:
        raise CommitterError(f"{folder} holds files that no data file is named like: {strangers[:3]}")
    if not keys or len(keys) > MAX_FILES:
        raise CommitterError(f"{folder} holds {len(keys)} data files; a snapshot has 1 to {MAX_FILES}")
    complete = len(named) < _NAMED_AT_MOST
    if named - keys or (complete and keys - named):
        raise CommitterError(
            f"{folder}: {len(keys)} data files are listed, _SUCCESS names {len(named)}; "
            f"they differ in {sorted(keys ^ named)[:3]}"
        )
    expected = success.get("iostatistics", {}).get("counters", {}).get("committer_bytes_committed")
    if expected is not None and expected != sum(entry.size for entry in found):
        raise CommitterError(
            f"{folder}: {sum(entry.size for entry in found)} bytes are listed, {expected} were written"
        )
