"""``python -m assets.conformance [FOLDER]``: is everything in a lake as the storage contract says?

It looks at a folder, or without one at the bucket that is configured, writes nothing, and prints a line for each breach
and one that says how much it has looked at. Stricter than ``verify``: no key may lie there that the contract does not
know, each commit and tombstone must be in canonical form, each column have a name and a type of the contract, and each
page of a file a checksum. Properties and tags that came within version 1 are no breach. Exit codes: 0 conforms, 1 does
not, 2 there is no such folder, 3 not configured, 5 the lake gave out: nobody knows.
"""

import json
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assets.errors import ActionContractError
from assets.snapshots.reader import Snapshot, open_snapshot
from assets.snapshots.verify import verify
from assets.tables.pages import columns_without_checksum
from assets.tables.schema import Schema
from contracts.commit import ETAG_TAG, Commit, properties_schema, spelled
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, SnapshotError, committed_at_key, is_known_key, retired_at_key
from contracts.tombstone import Tombstone
from resources.lake.folder import FileLake
from resources.lake.store import Lake, LakeError, S3Lake
from resources.settings import lake_settings

_PROPERTIES = set(properties_schema()["properties"])


@dataclass(slots=True)
class Looked:
    """How much was looked at."""

    keys: int = 0
    commits: int = 0
    tombstones: int = 0


def breaches(lake: Lake, prefix: str = "", *, deep: bool = False, looked: Looked | None = None) -> Iterator[str]:
    """Yield a sentence for each breach of the contract below ``prefix``, and count. Raises the lake's errors."""
    looked = looked or Looked()
    for found in lake.list(prefix):
        key = found.key
        looked.keys += 1
        if place := committed_at_key(key):
            looked.commits += 1
            yield from _of_commit(lake, key, place, deep=deep)
        elif place := retired_at_key(key):
            looked.tombstones += 1
            yield from _of_tombstone(lake, key, place)
        elif not is_known_key(key) and not _is_folder_marker(key):
            yield f"{key} is no key of the contract"


def _is_folder_marker(key: str) -> bool:
    return key.endswith("/")  # what consoles make of a "new folder": empty, and nothing to a reader


def _of_commit(lake: Lake, key: str, place: Coordinate, *, deep: bool) -> Iterator[str]:
    try:
        snapshot = open_snapshot(lake, place)
    except SnapshotError as error:
        yield str(error)
        return
    if not _is_canonical(snapshot.commit, lake.get(key) or b""):
        yield f"{key} is not in canonical form"
    if told := _schema_breach(snapshot):
        yield f"{key}: {told}"
    problems = verify(lake, place, deep=deep).problems
    yield from problems
    if deep and not problems:  # so the pages can be read
        for found in snapshot.objects:
            if columns := columns_without_checksum(lake.get(found.key) or b""):
                yield f"{found.key} has pages without a checksum: {', '.join(columns)}"


def _is_canonical(commit: Commit, body: bytes) -> bool:
    actions = [json.loads(line) for line in body.splitlines()]
    return spelled(actions) == body and spelled([_without_additions(action) for action in actions]) == commit.encode()


def _without_additions(action: dict[str, Any]) -> dict[str, Any]:
    """Return an action without the properties and tags that the contract lets come within version 1; all are text."""
    match action:
        case {"metaData": {"configuration": properties} as metadata}:
            added = {name for name in properties if name.startswith("lakemill.")} - _PROPERTIES
            return {"metaData": metadata | {"configuration": _without_texts(properties, added)}}
        case {"add": {"tags": tags} as add} if tags:
            known = _without_texts(tags, tags.keys() - {ETAG_TAG})
            without = {name: value for name, value in add.items() if name != "tags"}
            return {"add": add | {"tags": known} if known else without}
    return action


def _without_texts(values: dict[str, Any], names: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names or not isinstance(value, str)}


def _schema_breach(snapshot: Snapshot) -> str | None:
    try:
        declared = Schema.parse(str(snapshot.schema))  # names and types are held to what an action may declare
    except ActionContractError as error:
        return str(error)
    is_canonical = declared.to_json() == snapshot.commit.schema_string
    return None if is_canonical else "its schemaString is not in canonical form"


def _of_tombstone(lake: Lake, key: str, place: Coordinate) -> Iterator[str]:
    body = lake.get(key) or b""
    try:
        if Tombstone.parse(body, place).encode() != body:
            yield f"{key} is not in canonical form"
    except CorruptSnapshotError as error:
        yield str(error)


def main(arguments: list[str]) -> int:
    """Print every breach; return the exit code."""
    if arguments and not Path(arguments[0]).is_dir():
        sys.stderr.write(f"{arguments[0]} is no folder\n")
        return 2
    try:
        return _judged(FileLake(Path(arguments[0])) if arguments else _configured())
    except ValidationError as error:
        sys.stderr.write(f"not configured: {error}\n")
        return 3
    except LakeError as error:
        sys.stderr.write(f"not looked at to the end: {error}\n")
        return 5


def _configured() -> Lake:
    settings = lake_settings()
    return S3Lake(settings, settings.lake_bucket)


def _judged(lake: Lake) -> int:
    looked, found = Looked(), 0
    for breach in breaches(lake, deep=True, looked=looked):
        sys.stdout.write(f"{breach}\n")
        found += 1
    sys.stdout.write(
        f"{found} breaches of storage contract 1; "
        f"looked at {looked.commits} commits, {looked.tombstones} tombstones and {looked.keys} keys in all\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
