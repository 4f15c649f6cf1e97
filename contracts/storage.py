"""The storage contract, version 1: where a snapshot lies and what its commit says (docs/storage-contract.md).

    {entity_id}/{data_version}/{dataset}/{token}/part-….parquet
    {entity_id}/{data_version}/{dataset}/_delta_log/00000000000000000000.json

Keys are relative to the lake's root. Only this module makes them.
"""

from contracts.identity import TOKEN_PATTERN, Coordinate
from contracts.problems import LakemillError

STORAGE_CONTRACT_VERSION = 1
MAX_FILES = 100_000
MAX_KEY_BYTES = 1024

STAGES = ("run_started", "inputs_resolved", "spark_ready", "executors_ready", "written", "audited")
"""What a run has reached before its commit, in order; ``executors_ready`` only where executors are processes of their
own. The control plane adds the stages it sees itself."""


class CorruptSnapshotError(LakemillError):
    """A commit, or a file it names, is not what the storage contract says."""


def dataset_prefix(coordinate: Coordinate) -> str:
    """Return the folder of one coordinate, ending in a slash."""
    return f"{coordinate.entity_id}/{coordinate.data_version}/{coordinate.dataset}/"


def commit_key(coordinate: Coordinate) -> str:
    """Return the key whose existence is the snapshot."""
    return f"{dataset_prefix(coordinate)}_delta_log/{0:020d}.json"


def token_prefix(coordinate: Coordinate, token: str) -> str:
    """Return the folder one execution writes to, ending in a slash. Raises ValueError for a malformed token."""
    if not TOKEN_PATTERN.match(token):
        raise ValueError(f"{token!r} is not a token")
    return f"{dataset_prefix(coordinate)}{token}/"


def landing_prefix(coordinate: Coordinate) -> str:
    """Return the folder, in the landing bucket, that raw files for one coordinate are delivered to."""
    return dataset_prefix(coordinate)
