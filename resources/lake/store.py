"""The object store, through a port of nine verbs.

LakeError
├── LakeUnavailableError     no answer, 5xx, or changed on its way; after a PUT the outcome is unknown (retriable)
├── LakeAccessError          credentials, permissions or the bucket are wrong
└── ObjectMissingError       a key that must exist does not
"""

import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import NoReturn, Protocol

import stamina
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from contracts.problems import LakemillError
from resources.lake.commit_put import expiry_of, put_in_one_write
from resources.lake.s3 import content_md5, distrust, s3_client, tls_context
from resources.settings import LakeSettings

_DELETED_AT_ONCE = 1000  # as many as S3 takes
_MISSING = {"NoSuchKey", "404", "NotFound"}
_CHANGED = "BadDigest"
_PASSING = {"SlowDown", "InternalError", "RequestTimeout", "ThrottlingException", _CHANGED}
"""Refusals below 500 that another try may not meet."""


class LakeError(LakemillError):
    """The root of the lake's errors."""


class LakeUnavailableError(LakeError):
    """The store did not answer, answered 5xx, or got other bytes. Nobody knows if a PUT was stored: GET and compare."""

    retriable = True


class LakeAccessError(LakeError):
    """The store refuses us. Check LAKEMILL_S3_ACCESS_KEY, LAKEMILL_S3_SECRET_KEY, the bucket and this host's clock."""


class ObjectMissingError(LakeError):
    """A key that must exist does not."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One listed object: its key, relative to the bucket, its size in bytes, and what the store notes of it."""

    key: str
    size: int
    etag: str | None = field(default=None, compare=False)
    modified_at: datetime | None = field(default=None, compare=False)


class PutOutcome(Enum):
    """What the store made of a conditional PUT."""

    CREATED = "created"
    EXISTS = "exists"
    """412: something is stored at this key; it may be ours when an earlier answer was lost."""
    EXPIRED = "expired"
    """403: the presigned time is over; nothing was stored by this call."""


class PresignedPut(Protocol):
    """A PUT that the store accepts until its time is over, and only while the key is free."""

    @property
    def expires_at(self) -> datetime:
        """When its time is over (UTC), by the clock of this host."""

    def send(self, body: bytes) -> PutOutcome:
        """Send it. Raises LakeUnavailableError when the outcome is unknown, LakeAccessError."""


class Lake(Protocol):
    """One bucket. Keys are relative to it. Safe to use from many threads."""

    def url(self, key: str) -> str:
        """Return the address that people and foreign readers use (``s3://…``)."""

    def spark_url(self, key: str) -> str:
        """Return the address that Spark uses (``s3a://…``)."""

    def get(self, key: str) -> bytes | None:
        """Return the whole object, or None when there is none."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield a listed object piece by piece."""

    def tail(self, key: str, size_bytes: int) -> bytes:
        """Return the last ``size_bytes`` bytes, or all of a smaller object. Raises ObjectMissingError."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object below ``prefix``, in the order of keys, with its ETag and its time."""

    def put(self, key: str, body: bytes) -> None:
        """Store an object, whatever was there. Commits are never written with it, nor are their files."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a key without an object is no error."""

    def presign_commit(self, key: str, valid_seconds: int) -> PresignedPut:
        """Return a PUT that creates ``key`` within ``valid_seconds`` and never replaces it."""


class S3Lake:
    """A bucket of any S3 store whose conditional PUT is atomic."""

    def __init__(self, settings: LakeSettings, bucket: str) -> None:
        """Make the client; nothing is sent yet."""
        self._bucket = bucket
        self._client = s3_client(settings, read_seconds=30, tries=4)
        self._tls = tls_context(settings)

    def __repr__(self) -> str:
        return f"S3Lake({self._bucket!r})"

    def url(self, key: str) -> str:
        """See Lake."""
        return f"s3://{self._bucket}/{key}"

    def spark_url(self, key: str) -> str:
        """See Lake."""
        return f"s3a://{self._bucket}/{key}"

    def get(self, key: str) -> bytes | None:
        """See Lake. Raises LakeUnavailableError, LakeAccessError."""
        return self._read(key)

    def chunks(self, key: str) -> Iterator[bytes]:
        """See Lake. Raises LakeUnavailableError, LakeAccessError."""
        try:
            yield from self._client.get_object(Bucket=self._bucket, Key=key)["Body"].iter_chunks(1024 * 1024)
        except (ClientError, BotoCoreError) as error:
            self._refuse(error, key)

    def tail(self, key: str, size_bytes: int) -> bytes:
        """See Lake. Raises ObjectMissingError, LakeUnavailableError, LakeAccessError."""
        body = self._read(key, Range=f"bytes=-{size_bytes}")
        if body is None:
            raise ObjectMissingError(f"{self.url(key)} does not exist")
        return body[-size_bytes:]

    def _read(self, key: str, **options: str) -> bytes | None:
        try:
            return bytes(self._client.get_object(Bucket=self._bucket, Key=key, **options)["Body"].read())
        except (ClientError, BotoCoreError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in _MISSING:
                return None
            if code == "InvalidRange":  # the end of an empty object
                return b""
            self._refuse(error, key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Lake. Raises LakeUnavailableError, LakeAccessError."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        try:
            for page in pages:
                for entry in page.get("Contents", ()):
                    etag = entry.get("ETag", "").strip('"') or None
                    yield ObjectInfo(entry["Key"], entry["Size"], etag, entry.get("LastModified"))
        except (ClientError, BotoCoreError) as error:
            self._refuse(error, prefix)

    def put(self, key: str, body: bytes) -> None:
        """See Lake. Raises LakeUnavailableError, LakeAccessError."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentMD5=content_md5(body))
        except (ClientError, BotoCoreError) as error:
            self._refuse(error, key)

    def delete(self, keys: Iterable[str]) -> None:
        """See Lake. Raises LakeUnavailableError, LakeAccessError."""
        rest = iter(keys)
        try:
            while part := [{"Key": key} for key in islice(rest, _DELETED_AT_ONCE)]:
                told = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": part, "Quiet": True})
                for failed in told.get("Errors", ()):
                    self._refuse(ClientError({**told, "Error": failed}, "DeleteObjects"), failed["Key"])
        except (ClientError, BotoCoreError) as error:
            self._refuse(error, "")

    def presign_commit(self, key: str, valid_seconds: int) -> PresignedPut:
        """See Lake. Works without asking the store; raises LakeAccessError when there are no credentials."""
        what = {"Bucket": self._bucket, "Key": key, "IfNoneMatch": "*"}
        try:
            signed = self._client.generate_presigned_url("put_object", Params=what, ExpiresIn=valid_seconds)
        except BotoCoreError as error:
            raise LakeAccessError(f"{self.url(key)}: {error}") from error
        return _S3PresignedPut(signed, expiry_of(signed), self.url(key), self._tls)

    def _refuse(self, error: ClientError | BotoCoreError, key: str) -> NoReturn:
        if isinstance(error, ClientError):
            status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
            if status < 500 and status != 429 and code not in _PASSING:
                raise LakeAccessError(f"{self.url(key)}: {status} {code}; check credentials and bucket") from error
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            raise LakeAccessError(f"{self.url(key)}: {error}; set LAKEMILL_S3_ACCESS_KEY and …_SECRET_KEY") from error
        raise LakeUnavailableError(f"{self.url(key)}: {distrust(error) or error}") from error


class _ConflictError(Exception):
    """409: another conditional PUT on this key is under way; ask again."""


@dataclass(frozen=True, slots=True, repr=False)
class _S3PresignedPut:
    signed_url: str  # a capability: never logged
    expires_at: datetime
    name: str
    tls: ssl.SSLContext | None

    def send(self, body: bytes) -> PutOutcome:
        # Not the decorator: its log lines would carry the body.
        retrying = stamina.retry_context(on=_ConflictError, attempts=8, timeout=10.0, wait_initial=0.05, wait_max=1.0)
        try:
            for attempt in retrying:
                with attempt:
                    return self._send(body)
        except _ConflictError:
            pass
        raise LakeUnavailableError(f"{self.name}: other writers keep this key busy")

    def _send(self, body: bytes) -> PutOutcome:
        try:
            answer = put_in_one_write(self.signed_url, body, ssl_context=self.tls)
        except ConnectionError as error:
            raise LakeUnavailableError(f"{self.name}: no answer to the commit ({error})") from None
        if 200 <= answer.status < 300:
            return PutOutcome.CREATED
        match answer.status:
            case 412:
                return PutOutcome.EXISTS
            case 409:
                raise _ConflictError
            case 403 if answer.is_over:
                return PutOutcome.EXPIRED
            case 400 if answer.code == _CHANGED:
                raise LakeUnavailableError(f"{self.name}: the commit arrived at the store changed, and was not stored")
        if answer.status >= 500 or answer.status == 429:
            raise LakeUnavailableError(f"{self.name}: the store answered {answer.status} to the commit")
        raise LakeAccessError(f"{self.name}: the store refuses the commit: {answer.status} {answer.code}")
