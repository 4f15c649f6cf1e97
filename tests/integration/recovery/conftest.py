"""A real store instead of the lake in memory; each test has a bucket of its own there."""

from collections.abc import Iterator

import pytest

from resources.settings import LakeSettings
from tests.integration.store_lake import StoreLake
from tests.s3_server import s3_server


@pytest.fixture(scope="package")
def store() -> Iterator[LakeSettings]:
    with s3_server() as settings:
        yield settings


@pytest.fixture
def lake(store: LakeSettings) -> StoreLake:
    return StoreLake(store)
