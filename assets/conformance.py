"""``python -m assets.conformance [FOLDER]``: is everything in a lake as the storage contract says?

It looks at a folder, or without one at the bucket that is configured, writes nothing, and prints a line for each breach
and one that says how much it has looked at. Stricter than ``verify``: no key may lie there that the contract does not
know, and each commit and tombstone must be in canonical form. Exit codes: 0 conforms, 1 does not, 2 there is no such
folder, 3 not configured, 5 the lake gave out: nobody knows.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from assets.snapshots.verify import verify
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, committed_at_key, is_known_key, retired_at_key
from contracts.tombstone import Tombstone
from resources.lake.folder import FileLake
from resources.lake.store import Lake, LakeError, S3Lake
from resources.settings import lake_settings


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
            yield from _of_document(lake, key, place, Tombstone)
        elif not is_known_key(key) and not _is_folder_marker(key):
            yield f"{key} is no key of the contract"


def _is_folder_marker(key: str) -> bool:
    return key.endswith("/")  # what consoles make of a "new folder": empty, and nothing to a reader


def _of_commit(lake: Lake, key: str, place: Coordinate, *, deep: bool) -> Iterator[str]:
    told = list(_of_document(lake, key, place, Commit))
    yield from told or verify(lake, place, deep=deep).problems


def _of_document(lake: Lake, key: str, place: Coordinate, kind: type[Commit] | type[Tombstone]) -> Iterator[str]:
    body = lake.get(key) or b""
    try:
        if kind.parse(body, place).encode() != body:
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
