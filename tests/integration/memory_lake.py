"""A lake in memory, and what lies in a lake: snapshots of three rows and their tombstones."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from contracts.callbacks import Artifact
from contracts.commit import Commit, DataFile, Provenance
from contracts.identity import Coordinate, new_token
from contracts.storage import commit_key
from contracts.tombstone import Tombstone
from resources.lake.store import LakeUnavailableError, ObjectInfo

DIGEST = "a" * 64


class MemoryLake:
    """A lake in a dictionary. ``is_down`` makes it silent; ``asked`` records every key that was read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.is_down = False
        self.size = 10
        """Bytes of the one file of what is committed."""
        self.used: dict[str, Any] = {}
        """What its run says that it has used."""

    def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        if self.is_down:
            raise LakeUnavailableError("the lake is down")
        return self.objects.get(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = sorted((key, len(body)) for key, body in self.objects.items() if key.startswith(prefix))
        return iter([ObjectInfo(key, size) for key, size in found])

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body

    def url(self, key: str) -> str:
        return f"s3://lake/{key}"

    def commit(
        self, place: Coordinate, process_id: UUID | None, attempt: int | None = 1, tenant: str | None = "default"
    ) -> str:
        """Publish a snapshot of three rows at ``place``; returns its token."""
        now = datetime.now(UTC)
        token = new_token(str(process_id or uuid4()), attempt or 1)
        provenance = Provenance(
            token=token,
            run_id="run-1",
            process_id=process_id,
            attempt=attempt,
            tenant=tenant,
            action="ingest",
            action_digest=DIGEST,
            inputs={},
            params={},
            checks=[],
            resources=self.used,
            stages=dict.fromkeys(("run_started", "spark_ready", "written", "audited"), now),
        )
        commit = Commit(
            coordinate=place,
            committed_at=now,
            schema_string='{"type":"struct","fields":[]}',
            files=[DataFile(name="part-0.parquet", size=self.size, rows=3)],
            provenance=provenance,
        )
        self.objects[commit_key(place)] = commit.encode()
        return token


def tombstone(where: Coordinate, process_id: UUID | None = None) -> Tombstone:
    """Return the tombstone of a snapshot of three rows."""
    at = datetime.now(UTC)
    told = {"rows": 3, "bytes": 10, "files": 1, "commit_digest": DIGEST, "committed_at": at}
    return Tombstone(
        **asdict(where),
        retired_at=at,
        retired_by="cli:operator",
        token=new_token(str(process_id or uuid4()), 1),
        tenant="default",
        process_id=process_id,
        artifact=Artifact.model_validate({"path": f"s3://lake/{where}", **told}),
    )


def place(dataset: str = "raw", entity_id: str = "cust_8842", data_version: str = "v1") -> Coordinate:
    return Coordinate(entity_id, data_version, dataset)
