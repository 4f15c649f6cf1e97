"""How a client of the object store is made, whom it trusts, and the checksum that it sends along."""

import base64
import hashlib
import ssl
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
        verify=str(settings.s3_ca_file) if settings.s3_ca_file else None,
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


def tls_context(settings: LakeSettings) -> ssl.SSLContext | None:
    """Return what trusts the authority in ``settings`` and no other; None when they name none."""
    return ssl.create_default_context(cafile=settings.s3_ca_file) if settings.s3_ca_file else None


def distrust(error: BaseException | None) -> str | None:
    """Return what is wrong with the store's certificate and what to check, when ``error`` comes of that."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    return (
        f"the store's certificate is not trusted ({error.verify_message.rstrip('.')}): "
        "LAKEMILL_S3_CA_FILE must hold its authority, LAKEMILL_S3_ENDPOINT a name that it is made for"
    )


def content_md5(body: bytes) -> str:
    """Return the header Content-MD5 of a PUT.

    Every store knows it, and AWS demands a checksum of every PUT to a bucket that retains by default (Object Lock).
    """
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
