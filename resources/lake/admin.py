"""The object store's set-up: buckets. Used by the embedded stack; a deployment is given its buckets."""

from collections.abc import Sequence

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def ensure_buckets(endpoint: str, access_key: str, secret_key: str, buckets: Sequence[str]) -> bool:
    """Create the buckets that are missing. Returns whether the store answered and has all of them."""
    config = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    )
    try:
        present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in buckets:
            if bucket not in present:
                client.create_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True
