"""Questions to a bucket that nobody needs but who sets one up: rights, multipart uploads, lifecycle rules, its clock.

Raises the errors of ``resources.lake.store``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from resources.lake.s3 import content_md5, distrust, s3_client
from resources.lake.store import LakeAccessError, LakeError, LakeUnavailableError
from resources.settings import LakeSettings

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes as a part which is not the last."""
_NO_RULES = "NoSuchLifecycleConfiguration"
_NOT_OFFERED = {"NotImplemented", "MethodNotAllowed", "XNotImplemented"}
_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}


class LifecycleUnsupportedError(LakeError):
    """The store has no lifecycle rules."""


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One rule that is switched on."""

    name: str
    prefix: str
    is_for_tagged: bool
    """Whether it holds for objects with a certain tag only; Lakemill tags nothing."""
    removes_current: bool
    """Whether it expires current objects, or moves them where they cannot be read at once."""
    abort_days: int | None
    """After how many days it aborts uploads that were never completed."""


class LakeProbe:
    """One bucket, asked directly."""

    def __init__(self, settings: LakeSettings, bucket: str) -> None:
        """Make the client; nothing is sent yet."""
        self._bucket = bucket
        self._client = s3_client(settings, read_seconds=15, tries=2)

    def some_keys(self, count: int) -> list[str]:
        """Return the first keys of the bucket, ``count`` at most."""
        with self._answering("s3:ListBucket"):
            page = self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=count)
        return [entry["Key"] for entry in page.get("Contents", ())]

    def first_byte(self, key: str) -> bytes:
        """Return the first byte of an object; nothing when it is empty."""
        with self._answering("s3:GetObject"):
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0")["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] == "InvalidRange":
                    return b""
                raise
        return body

    def skew_seconds(self) -> float:
        """Return how far the store's clock is ahead of this host's, within half a second or so."""
        began = datetime.now(UTC)
        with self._answering("s3:ListBucket"):
            answer = self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
        middle = began + (datetime.now(UTC) - began) / 2
        text = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            told = parsedate_to_datetime(text)
        except ValueError:
            raise LakeUnavailableError(f"the answer of bucket {self._bucket!r} has no Date header") from None
        return (told - middle).total_seconds() + 0.5  # the header is cut to whole seconds

    def upload_in_parts(self, key: str) -> int:
        """Store an object by a multipart upload of two parts; return its size as the store tells it."""
        with self._answering("s3:PutObject (multipart)"):
            upload = self._begin(key)
            parts = [self._part(key, upload, number, body) for number, body in ((1, bytes(PART_BYTES)), (2, b"end"))]
            target = {"Bucket": self._bucket, "Key": key}
            self._client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
            return int(self._client.head_object(**target)["ContentLength"])

    def abort_upload(self, key: str) -> bool:
        """Begin an upload, send a part, abort it; return whether nothing of it is left."""
        with self._answering("s3:AbortMultipartUpload"):
            upload = self._begin(key)
            self._part(key, upload, 1, b"never seen")
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        with self._answering("s3:ListBucketMultipartUploads"):
            page = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        return not page.get("Uploads")

    def lifecycle(self) -> list[LifecycleRule]:
        """Return the rules that are switched on. Raises LifecycleUnsupportedError, LakeAccessError."""
        with self._answering("s3:GetLifecycleConfiguration"):
            try:
                rules = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)["Rules"]
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == _NO_RULES:
                    return []
                if code in _NOT_OFFERED:
                    raise LifecycleUnsupportedError(f"the store has no lifecycle rules ({code})") from error
                raise
        return [_rule(rule) for rule in rules if rule["Status"] == "Enabled"]

    def _begin(self, key: str) -> str:
        return str(self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"])

    def _part(self, key: str, upload: str, number: int, body: bytes) -> dict[str, Any]:
        place = {"Bucket": self._bucket, "Key": key, "UploadId": upload, "PartNumber": number}
        answer = self._client.upload_part(**place, Body=body, ContentMD5=content_md5(body))
        return {"PartNumber": number, "ETag": answer["ETag"]}

    @contextmanager
    def _answering(self, right: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
            told = f"bucket {self._bucket!r} answers {status} {code} to {right}"
            raise (LakeUnavailableError(told) if status >= 500 else LakeAccessError(told)) from error
        except BotoCoreError as error:
            raise LakeUnavailableError(f"bucket {self._bucket!r}: {distrust(error) or error}") from error


def _rule(rule: dict[str, Any]) -> LifecycleRule:
    chosen = rule.get("Filter", {})
    chosen = chosen | chosen.get("And", {})
    expiration = rule.get("Expiration", {})
    moves = {transition.get("StorageClass") for transition in rule.get("Transitions", ())}
    return LifecycleRule(
        name=rule.get("ID", "without a name"),
        prefix=chosen.get("Prefix") or rule.get("Prefix") or "",
        is_for_tagged=bool(chosen.get("Tag") or chosen.get("Tags")),
        removes_current="Days" in expiration or "Date" in expiration or bool(moves & _ARCHIVES),
        abort_days=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    )
