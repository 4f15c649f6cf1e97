"""Snapshots as a run leaves them, without Spark: Parquet files by Arrow, their footers, and the conditional commit."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from assets.running.committer import data_files
from assets.snapshots.reader import Snapshot, open_snapshot
from assets.tables.footers import read_footers
from assets.tables.schema import Schema
from contracts.commit import Commit, Provenance
from contracts.identity import Coordinate, new_token
from contracts.storage import commit_key, token_prefix
from resources.lake.store import Lake, PutOutcome

DIGEST = "ab" * 32


def parquet(table: pa.Table, **options: Any) -> bytes:
    """The table as Spark would write it: with a checksum for each page, unless ``options`` of Arrow say otherwise."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"write_page_checksum": True, "store_schema": False, **options})
    return bytes(sink.getvalue())


def publish(
    lake: Lake,
    place: Coordinate,
    schema: str | Schema,
    tables: Sequence[pa.Table],
    *,
    options: Mapping[str, Any] | None = None,
    **origin: Any,
) -> Snapshot:
    """Write one file for each table, with ``options`` of Arrow, and commit them.

    ``origin`` replaces fields of the provenance.
    """
    process_id = uuid4()
    told = {
        "token": new_token(str(process_id), 1),
        "run_id": "run-1",
        "process_id": process_id,
        "attempt": 1,
        "tenant": "default",
        "action": "made",
        "action_digest": DIGEST,
        "inputs": {},
        "params": {},
        "checks": [],
    }
    provenance = Provenance.model_validate(told | origin)
    folder = token_prefix(place, provenance.token)
    for number, table in enumerate(tables):
        lake.put(f"{folder}part-{number:05d}.parquet", parquet(table, **options or {}))
    footers = read_footers(lake, [found for found in lake.list(folder) if found.key != folder])
    lake.put(f"{folder}_SUCCESS", b"{}")
    declared = Schema.parse(schema) if isinstance(schema, str) else schema
    commit = Commit(
        coordinate=place,
        committed_at=datetime.now(UTC),
        schema_string=declared.to_json(),
        files=data_files(footers, folder, declared),
        provenance=provenance,
    )
    assert lake.presign_commit(commit_key(place), 60).send(commit.encode()) is PutOutcome.CREATED
    return open_snapshot(lake, place)
