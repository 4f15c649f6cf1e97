"""A lake in a real store, with snapshots whose files are there too."""

from collections.abc import Iterable, Iterator
from uuid import UUID, uuid4

from contracts.identity import Coordinate
from contracts.storage import commit_key, token_prefix
from resources.lake.admin import ensure_buckets
from resources.lake.store import ObjectInfo, PresignedPut, PutOutcome, S3Lake
from resources.settings import LakeSettings
from tests.integration.memory_lake import MemoryLake
from tests.s3_server import ACCESS_KEY, SECRET_KEY

FILES = ("_SUCCESS", "part-0.parquet")


class StoreLake(MemoryLake):
    """A bucket of a test's own. ``is_down`` makes it silent, as it does a MemoryLake."""

    def __init__(self, store: LakeSettings) -> None:
        super().__init__()
        self.bucket = f"lake-{uuid4().hex}"
        assert ensure_buckets(store.s3_endpoint or "", ACCESS_KEY, SECRET_KEY, (self.bucket,))
        self.store = S3Lake(store, self.bucket)

    def get(self, key: str) -> bytes | None:
        super().get(key)
        return self.store.get(key)

    def url(self, key: str) -> str:
        return self.store.url(key)

    def spark_url(self, key: str) -> str:
        return self.store.spark_url(key)

    def chunks(self, key: str) -> Iterator[bytes]:
        return self.store.chunks(key)

    def tail(self, key: str, size_bytes: int) -> bytes:
        return self.store.tail(key, size_bytes)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        super().get(prefix)
        return self.store.list(prefix)

    def put(self, key: str, body: bytes) -> None:
        self.store.put(key, body)

    def delete(self, keys: Iterable[str]) -> None:
        self.store.delete(keys)

    def presign_commit(self, key: str, valid_seconds: int) -> PresignedPut:
        return self.store.presign_commit(key, valid_seconds)

    def commit(
        self, place: Coordinate, process_id: UUID | None, attempt: int | None = 1, tenant: str | None = "default"
    ) -> str:
        """Publish as a run does: the files, then the conditional commit, which must win."""
        token, body = self.write(place, process_id, attempt, tenant)
        assert self.presign_commit(commit_key(place), 60).send(body) is PutOutcome.CREATED
        return token

    def write(
        self, place: Coordinate, process_id: UUID | None, attempt: int | None = 1, tenant: str | None = "default"
    ) -> tuple[str, bytes]:
        """Write the files of an execution that has not committed yet; return its token, and the commit's bytes."""
        token = super().commit(place, process_id, attempt, tenant)
        for name in FILES:
            self.put(f"{token_prefix(place, token)}{name}", b"0123456789")
        return token, self.objects.pop(commit_key(place))

    def stored(self, prefix: str = "") -> set[str]:
        """Return what is stored, without the folders that a store may list."""
        return {found.key for found in self.store.list(prefix) if not found.key.endswith("/")}
