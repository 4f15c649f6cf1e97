"""One Spark over one store for all of these tests, and a fresh entity for each."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.control_plane import FakeControlPlane
from tests.integration.spark_mill import Mill
from tests.s3_server import s3_server


@pytest.fixture(scope="package")
def one_mill() -> Iterator[Mill]:
    with s3_server() as store:
        mill = Mill(store)
        yield mill
        mill.sessions.close()


@pytest.fixture
def mill(one_mill: Mill) -> Mill:
    one_mill.entity = f"entity-{uuid4().hex}"
    one_mill.control = FakeControlPlane()
    return one_mill
