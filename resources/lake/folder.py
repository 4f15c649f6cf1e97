"""The lake as a folder, for tests: the same behaviour as S3 (one suite proves both, tests/contract/test_lake.py)."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resources.lake.store import ObjectInfo, ObjectMissingError, PresignedPut, PutOutcome

_SCRATCH = ".scratch"


class FileLake:
    """A bucket below ``root``. ``clock`` (seconds since 1970) decides when a presigned commit is over."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Touch nothing yet: the first write makes the folder."""
        self._root = root
        self._clock = clock

    def url(self, key: str) -> str:
        """See Lake; ``file://`` here."""
        return (self._root / key).as_uri()

    def spark_url(self, key: str) -> str:
        """See Lake; ``file://`` here."""
        return self.url(key)

    def get(self, key: str) -> bytes | None:
        """See Lake."""
        try:
            return (self._root / key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def chunks(self, key: str) -> Iterator[bytes]:
        """See Lake."""
        yield (self._root / key).read_bytes()

    def tail(self, key: str, size_bytes: int) -> bytes:
        """See Lake. Raises ObjectMissingError."""
        body = self.get(key)
        if body is None:
            raise ObjectMissingError(f"{self.url(key)} does not exist")
        return body[-size_bytes:]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Lake."""
        folder = self._root / prefix.rpartition("/")[0]
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix) and not key.startswith(_SCRATCH):
                found = path.stat()
                etag = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
                yield ObjectInfo(key, found.st_size, etag, datetime.fromtimestamp(found.st_mtime, UTC))

    def put(self, key: str, body: bytes) -> None:
        """See Lake."""
        self._scratch(body).replace(self._ready(key))

    def delete(self, keys: Iterable[str]) -> None:
        """See Lake."""
        for key in keys:
            (self._root / key).unlink(missing_ok=True)

    def presign_commit(self, key: str, valid_seconds: int) -> PresignedPut:
        """See Lake."""
        return _FilePresignedPut(self, key, self._clock() + valid_seconds)

    def create(self, key: str, body: bytes, not_after: float) -> PutOutcome:
        """Store ``body`` whole, or not at all when the key is taken or the clock is past ``not_after``."""
        if self._clock() > not_after:
            return PutOutcome.EXPIRED
        scratch = self._scratch(body)
        try:
            os.link(scratch, self._ready(key))  # exclusive, and the content is whole when the name appears
        except FileExistsError:
            return PutOutcome.EXISTS
        finally:
            scratch.unlink()
        return PutOutcome.CREATED

    def _scratch(self, body: bytes) -> Path:
        path = self._ready(f"{_SCRATCH}/{secrets.token_hex(8)}")
        path.write_bytes(body)
        return path

    def _ready(self, key: str) -> Path:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class _FilePresignedPut:
    lake: FileLake
    key: str
    not_after: float

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.not_after, UTC)

    def send(self, body: bytes) -> PutOutcome:
        return self.lake.create(self.key, body, self.not_after)
