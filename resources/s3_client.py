"""How a client of the object store is made, and the checksum that it sends along."""

import base64
import hashlib
from typing import Any

import boto3
from botocore.config import Config

from resources.settings import LakeSettings

_CONNECT_SECONDS = 5


def s3_client(settings: LakeSettings, *, read_seconds: int, tries: int) -> Any:
    """Return boto3's client with the keys of ``settings``, or with what the machine has; nothing is sent yet."""
    secret = settings.s3_secret_key
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",  # the older one does not sign If-None-Match
            s3={"addressing_style": "path"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": tries},
            max_pool_connections=32,
            request_checksum_calculation="when_required",  # not every store knows the newer ones; see content_md5
        ),
    )


def content_md5(body: bytes) -> str:
    """Return the header Content-MD5 of a PUT.

    Every store knows it, and AWS demands a checksum of every PUT to a bucket that retains by default (Object Lock).
    """
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
