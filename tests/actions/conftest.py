"""The tests of actions share one small Spark, which is not left to other tests: those start their own."""

from collections.abc import Iterator

import pytest

from assets.testing import local_spark
from resources.spark.session import stop_session


@pytest.fixture(scope="package", autouse=True)
def _no_spark_is_left_to_other_tests() -> Iterator[None]:
    yield
    if local_spark.cache_info().currsize:
        stop_session(local_spark())
        local_spark.cache_clear()
