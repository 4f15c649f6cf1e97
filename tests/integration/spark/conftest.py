"""One Spark over one store for all of these tests, and a fresh entity for each."""

from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import uuid4

import pytest

from assets.declaration import action, holds, not_null
from assets.running.task import Published
from tests.control_plane import FakeControlPlane
from tests.integration.every_type import DDL, NESTED_DDL, NESTED_ROWS, NEVER_NULL_DDL, ROWS
from tests.integration.spark_mill import Mill, table_of
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


@pytest.fixture(scope="package")
def published(one_mill: Mill) -> Published:
    """Rows of every flat type."""
    one_mill.entity = "published-once"
    return one_mill.run(table_of(one_mill, DDL, ROWS))


@pytest.fixture(scope="package")
def nested(one_mill: Mill) -> Published:
    """Rows with every flat type in structs, arrays and maps."""
    one_mill.entity = "published-nested"
    checks = [not_null("n"), holds("size(a) <= 4"), holds("s.n < 3 OR s.n IS NULL")]
    return one_mill.run(table_of(one_mill, NESTED_DDL, NESTED_ROWS, checks=checks, sort_by=["n"]))


@pytest.fixture(scope="package")
def never_null(one_mill: Mill) -> Published:
    """A row in which Spark knows that nothing is null, however deep."""
    one_mill.entity = "published-never-null"
    query = """
        SELECT 1 AS n, array(array(2)) AS a, named_struct('x', 3L) AS s, map('k', named_struct('y', array(4))) AS m
    """

    @action(inputs={}, output="strict", schema=NEVER_NULL_DDL)
    def strict() -> Any:
        return one_mill.spark.sql(query)

    return one_mill.run(strict)


@pytest.fixture(scope="package")
def revenue(one_mill: Mill) -> Published:
    """What docs/reading-snapshots.md reads."""

    @action(inputs={}, output="revenue", schema="month date, orders bigint")
    def revenue() -> Any:
        rows = [(date(2024, 9, 1), 39), (date(2024, 10, 1), 41)]
        return one_mill.spark.createDataFrame(rows, "month date, orders bigint")

    return one_mill.run(revenue, entity_id="cust_8842", data_version="v2024.10.05")
