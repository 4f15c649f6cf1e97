"""A SeaweedFS with a user for each role of the S3 template, and what a user tries there."""

import json
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr

from resources.settings import LakeSettings
from tests.bucket_policy import ROLES, filled
from tests.s3_server import ACCESS_KEY, SECRET_KEY

ARNS = {role: f"arn:aws:iam::000000000000:user/{role}" for role in ROLES}


class Store:
    """One server with one user for each role, without any right but the policy's, and SPARK with rights of its own."""

    def __init__(self, settings: LakeSettings) -> None:
        self.settings = settings
        self.admin = self.client(ACCESS_KEY, SECRET_KEY)

    def client(self, key: str, secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.settings.s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def user(self, role: str) -> Any:
        return self.client(f"{role}-key", f"{role}-secret")

    def keys_of(self, role: str) -> LakeSettings:
        change = {"s3_access_key": f"{role}-key", "s3_secret_key": SecretStr(f"{role}-secret")}
        return self.settings.model_copy(update=change)

    def apply(self, without: tuple[str, ...]) -> None:
        self.admin.put_bucket_policy(Bucket="lake", Policy=json.dumps(filled(ARNS, without=without)))


def refused(call: Any, **arguments: Any) -> bool:
    """Return whether the store answers 403."""
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
            return True
        raise
    return False


def put(client: Any, key: str, **more: Any) -> bool:
    return not refused(client.put_object, Bucket="lake", Key=key, Body=b"x", **more)


def delete(client: Any, key: str) -> bool:
    return not refused(client.delete_object, Bucket="lake", Key=key)
