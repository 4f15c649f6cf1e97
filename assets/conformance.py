"""``python -m assets.conformance [FOLDER]``: is everything in a lake as the storage contract says?

It looks at a folder, or without one at the bucket that is configured, and prints a line for each breach. Stricter than
``verify``: no key may lie there that the contract does not know, and each commit and tombstone must be in canonical
form. Exit codes: 0 conforms, 1 does not.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from assets.snapshots.verify import verify
from contracts.commit import Commit
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError, committed_at_key, retired_at_key, token_at_key
from contracts.tombstone import Tombstone
from resources.lake.folder import FileLake
from resources.lake.store import Lake, S3Lake
from resources.settings import lake_settings

_PRIVATE = "_lakemill/"


def breaches(lake: Lake, prefix: str = "", *, deep: bool = False) -> Iterator[str]:
    """Yield a sentence for each breach of the contract below ``prefix``. Raises the lake's errors."""
    for found in lake.list(prefix):
        key = found.key
        if place := committed_at_key(key):
            yield from _of_commit(lake, key, place, deep=deep)
        elif place := retired_at_key(key):
            yield from _of_document(lake, key, place, Tombstone)
        elif token_at_key(key) is None and not key.startswith(_PRIVATE) and not key.endswith("/"):
            yield f"{key} is no key of the contract"


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
    settings = lake_settings()
    lake = FileLake(Path(arguments[0])) if arguments else S3Lake(settings, settings.lake_bucket)
    found = 0
    for breach in breaches(lake, deep=True):
        sys.stdout.write(f"{breach}\n")
        found += 1
    sys.stdout.write(f"{found} breaches of storage contract 1\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
