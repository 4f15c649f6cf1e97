"""Where a snapshot lies: the keys of the storage contract, version 1 (docs/storage-contract.md).

    {entity_id}/{data_version}/{dataset}/{token}/part-….parquet
    {entity_id}/{data_version}/{dataset}/_delta_log/00000000000000000000.json
    _lakemill/retired/{entity_id}/{data_version}/{dataset}.json

Keys are relative to the lake's root. Only this module makes them.

SnapshotError
├── MissingSnapshotError         nothing is published there
├── RetiredSnapshotError         it was, and was retired for ever
└── CorruptSnapshotError         something lies there that cannot be read as this contract says
    ├── ForeignSnapshotError     somebody else's Delta table
    └── NewerSnapshotError       written by a later contract
"""

import re
from enum import StrEnum

from contracts.identity import TOKEN_PATTERN, Coordinate, safe_id
from contracts.problems import LakemillError

STORAGE_CONTRACT_VERSION = 1
MAX_FILES = 100_000
_PRIVATE = "_lakemill/"
RETIRED_PREFIX = f"{_PRIVATE}retired/"
"""The folder of the tombstones; no entity_id begins with an underscore."""
_LOG_NAME = "_delta_log"
_COMMIT_NAME = f"{_LOG_NAME}/{0:020d}.json"
_SUCCESS_NAME = "_SUCCESS"

DATA_FILE = re.compile(r"part-[A-Za-z0-9._-]+\.parquet")
"""The name of a data file, which lies in its token folder itself."""
_WORK_FOLDER = "__magic_job-"
"""What the names of the folders begin with that Spark's committer keeps its notes in while it writes."""


class Stage(StrEnum):
    """What a run reaches before its commit, in order. The control plane adds the stages it sees itself."""

    RUN_STARTED = "run_started"
    INPUTS_RESOLVED = "inputs_resolved"
    SPARK_READY = "spark_ready"
    EXECUTORS_READY = "executors_ready"
    """Only where executors are processes of their own."""
    WRITTEN = "written"
    AUDITED = "audited"


class SnapshotError(LakemillError):
    """The root: what lies at a coordinate cannot be read as a snapshot."""


class MissingSnapshotError(SnapshotError):
    """Nothing is published at the coordinate. Check its spelling: ``lakemill snapshots ls`` shows what there is."""


class RetiredSnapshotError(SnapshotError):
    """What was published at the coordinate was retired, for ever. Read another data version."""


class CorruptSnapshotError(SnapshotError):
    """A commit, a tombstone, or a file, is not what the storage contract says. ``lakemill snapshots verify`` tells."""


class ForeignSnapshotError(CorruptSnapshotError):
    """A Delta table lies there that Lakemill did not write. Move it: the coordinate is not its place."""


class NewerSnapshotError(CorruptSnapshotError):
    """A later storage contract has written it. Upgrade Lakemill; the snapshot is sound for whoever knows that one."""


def dataset_prefix(coordinate: Coordinate) -> str:
    """Return the folder of one coordinate, ending in a slash."""
    return f"{coordinate.entity_id}/{coordinate.data_version}/{coordinate.dataset}/"


def commit_key(coordinate: Coordinate) -> str:
    """Return the key whose existence is the snapshot."""
    return f"{dataset_prefix(coordinate)}{_COMMIT_NAME}"


def committed_at_key(key: str) -> Coordinate | None:
    """Return the coordinate whose commit lies at ``key``; None for every other key."""
    place, separator, rest = key.partition(f"/{_COMMIT_NAME}")
    return _coordinate(place) if separator and not rest else None


def tombstone_key(coordinate: Coordinate) -> str:
    """Return the key whose existence says that the coordinate was retired for ever."""
    return f"{RETIRED_PREFIX}{coordinate}.json"


def retired_at_key(key: str) -> Coordinate | None:
    """Return the coordinate whose tombstone lies at ``key``; None for every other key."""
    if not key.startswith(RETIRED_PREFIX) or not key.endswith(".json"):
        return None
    return _coordinate(key.removeprefix(RETIRED_PREFIX).removesuffix(".json"))


def place_prefix(entity_id: str | None = None, data_version: str | None = None) -> str:
    """Return what the keys of an entity, or of one of its versions, begin with; of everything without either."""
    return "".join(f"{safe_id(part)}/" for part in (entity_id, data_version) if part is not None)


def log_prefix(coordinate: Coordinate) -> str:
    """Return the folder of the Delta log, ending in a slash; it holds the commit and nothing else."""
    return f"{dataset_prefix(coordinate)}{_LOG_NAME}/"


def token_prefix(coordinate: Coordinate, token: str) -> str:
    """Return the folder one execution writes to, ending in a slash. Raises ValueError for a malformed token."""
    if not TOKEN_PATTERN.match(token):
        raise ValueError(f"{token!r} is not a token")
    return f"{dataset_prefix(coordinate)}{token}/"


def success_key(coordinate: Coordinate, token: str) -> str:
    """Return the key of the marker that a whole token folder has. It is removed before anything else of the folder."""
    return success_name(token_prefix(coordinate, token))


def success_name(folder: str) -> str:
    """Return the key of the marker in a token folder, which ends in a slash."""
    return f"{folder}{_SUCCESS_NAME}"


def token_at_key(key: str) -> tuple[Coordinate, str] | None:
    """Return whose token folder ``key`` lies in, or is; None for every other key."""
    parts = key.split("/", 4)
    place = _coordinate("/".join(parts[:3]))
    return (place, parts[3]) if place and len(parts) == 5 and TOKEN_PATTERN.match(parts[3]) else None


def is_known_key(key: str) -> bool:
    """Return whether something of this contract may lie at ``key``."""
    if committed_at_key(key) or retired_at_key(key):
        return True
    if token_at_key(key) is None:
        return key.startswith(_PRIVATE) and not key.startswith(RETIRED_PREFIX)
    name = key.split("/", 4)[4]
    return name in {"", _SUCCESS_NAME} or name.startswith(_WORK_FOLDER) or DATA_FILE.fullmatch(name) is not None


def is_stray_key(key: str) -> bool:
    """Return whether an object at ``key``, below a coordinate, has no place there.

    What lies in a token folder is that execution's own; a key that ends in a slash marks a folder, and holds nothing.
    """
    return not (key.endswith("/") or committed_at_key(key) or token_at_key(key))


def landing_prefix(coordinate: Coordinate) -> str:
    """Return the folder, in the landing bucket, that raw files for one coordinate are delivered to."""
    return dataset_prefix(coordinate)


def _coordinate(text: str) -> Coordinate | None:
    try:
        return Coordinate.parse(text)
    except ValueError:
        return None
