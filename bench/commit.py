"""The commit of a thousand files on a real store: what it takes once their footers are read, and how those are read.

python -m bench.commit [JSON_FILE] [--short]
"""

import io
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from statistics import median
from threading import Lock
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from assets.actions.ingest_lineitem import ingest_lineitem
from assets.running.audit import Written, measure
from assets.running.committer import data_files, finished_files
from assets.running.publication import Publisher
from assets.tables.arrow_types import arrow_schema
from assets.tables.footers import Footer
from bench.report import SHORT, Report
from bench.stacks import bench_store
from contracts.commit import Commit, Provenance
from contracts.identity import Coordinate, new_token
from contracts.storage import token_prefix
from resources.lake.store import Lake, S3Lake
from resources.settings import LakeSettings

FILES, ROUNDS = 1_000, 9
MOST_SECONDS = 0.3
ACTION, PLACE = ingest_lineitem, Coordinate("bench", "v1", "lineitem")
_NAMED = 100  # of the files, in the magic committer's _SUCCESS


class CountedLake(S3Lake):
    """Counts how often the end of each object is read, and how many are being read at once."""

    def __init__(self, settings: LakeSettings, bucket: str) -> None:
        """Begin to count."""
        super().__init__(settings, bucket)
        self.requests: Counter[str] = Counter()
        self.most_at_once = self._now = 0
        self._lock = Lock()

    def tail(self, key: str, size_bytes: int) -> bytes:
        """See Lake."""
        with self._lock:
            self.requests[key] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            return super().tail(key, size_bytes)
        finally:
            with self._lock:
                self._now -= 1


def main(arguments: list[str]) -> int:
    """Measure, report; return the exit code."""
    count, rounds = (50, 1) if SHORT in arguments else (FILES, ROUNDS)
    report = Report(
        "commit",
        f"{count:,} Parquet files with the columns of lineitem, as the magic committer leaves them, on a SeaweedFS. "
        "footers: the folder is listed and each footer read. commit: everything from there to the answer to the "
        "conditional PUT: schema compared, checks measured by the footers, commit written, PUT presigned, tombstone "
        "looked for, sent. Not in it: the permit, which is an HTTP call to the control plane and a GET of the marker; "
        "and Spark, which a run does not ask for such checks either (one that no footer answers takes a look at every "
        f"file and a read of its columns). Medians of {rounds} rounds",
    )
    with bench_store() as settings:
        token = _leave_files(S3Lake(settings, settings.lake_bucket), count)
        read, committed = [], []
        for number in range(rounds):
            lake = CountedLake(settings, settings.lake_bucket)
            began = time.monotonic()
            footers = finished_files(lake, PLACE, token)
            read.append(time.monotonic() - began)
            began = time.monotonic()
            _commit(lake, token, footers, f"v{number}")
            committed.append(time.monotonic() - began)
    report.add("commit", median(committed), "s", MOST_SECONDS)
    report.add("commit_max", max(committed), "s")
    report.add("footers", median(read), "s")
    report.add("footer_reads_per_file", max(lake.requests.values()), "requests", 1)
    report.add("footers_not_read", count - len(lake.requests), "files", 0)
    report.add_least("footers_at_once", lake.most_at_once, "requests", 2)
    return report.publish(arguments)


def _leave_files(lake: Lake, count: int) -> str:
    """Store the files and the committer's marker; return their token."""
    token = new_token(str(uuid4()), 1)
    folder = token_prefix(PLACE, token)
    schema = arrow_schema(ACTION.schema)
    columns = [pa.array([1]).cast(pa.string() if field.type == "string" else pa.int32()) for field in schema]
    table = pa.table([column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema)
    file = io.BytesIO()
    pq.write_table(table, file)
    keys = [f"{folder}part-{number:05d}-{uuid4()}-c000.zstd.parquet" for number in range(count)]
    for key in keys:
        lake.put(key, file.getvalue())
    marker = {"committer": "magic", "success": True, "filenames": [f"/{key}" for key in keys[:_NAMED]]}
    lake.put(f"{folder}_SUCCESS", json.dumps(marker).encode())
    return token


def _commit(lake: Lake, token: str, footers: list[Footer], version: str) -> None:
    files = data_files(footers, token_prefix(PLACE, token), ACTION.schema)
    checks = measure(ACTION.checks, Written(ACTION.schema, footers, _no_scan), lambda _: 0)
    provenance = Provenance(
        token=token,
        run_id=str(uuid4()),
        process_id=uuid4(),
        attempt=1,
        tenant="bench",
        action=ACTION.name,
        action_digest=ACTION.digest,
        inputs={},
        params={},
        checks=checks,
        stages={},
    )
    commit = Commit(
        coordinate=Coordinate(PLACE.entity_id, version, PLACE.dataset),
        committed_at=datetime.now(UTC),
        schema_string=ACTION.schema.to_json(),
        files=files,
        provenance=provenance,
    )
    Publisher(lake, 120, lambda: datetime.now(UTC)).publish(commit, lambda _: None)


def _no_scan(aggregates: object) -> list[int]:
    """Stand for Spark, which a run does not ask either where footers answer all."""
    raise AssertionError(f"the footers do not answer {aggregates}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
