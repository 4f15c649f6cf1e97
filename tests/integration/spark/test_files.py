"""What a run leaves in its folder: rows in order, and as many files as their size asks for."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from pyspark.sql import functions as F  # noqa: N812 - how Spark code is read

from assets.declaration import Action, action
from tests.integration.spark_mill import Mill

PARTITIONS = "spark.sql.shuffle.partitions"
ADVISORY = "spark.sql.adaptive.advisoryPartitionSizeInBytes"


@pytest.fixture(autouse=True)
def _many_partitions(mill: Mill) -> Iterator[None]:
    before = {name: mill.spark.conf.get(name) for name in (PARTITIONS, ADVISORY)}
    mill.spark.conf.set(PARTITIONS, "200")
    yield
    for name, value in before.items():
        mill.spark.conf.set(name, str(value))


def numbers(mill: Mill, rows: int, sort_by: tuple[str, ...]) -> Action:
    @action(inputs={}, output="numbers", schema="n bigint, half bigint, text string", sort_by=sort_by)
    def made() -> Any:
        n = mill.spark.range(0, rows, 1, 8).select((F.lit(rows) - F.col("id")).alias("n"))
        return n.groupBy("n").agg(
            F.max(F.expr("n div 2")).alias("half"), F.max(F.sha2(F.col("n").cast("string"), 256)).alias("text")
        )

    return made


@pytest.mark.parametrize("sort_by", [(), ("half", "n")])
def test_two_hundred_small_partitions_are_one_file(mill: Mill, sort_by: tuple[str, ...]) -> None:
    published = mill.run(numbers(mill, 10_000, sort_by))
    assert (len(published.commit.files), published.commit.rows) == (1, 10_000)


def test_more_rows_are_more_files_of_even_size_in_order(mill: Mill) -> None:
    mill.spark.conf.set(ADVISORY, str(4 * 1024 * 1024))
    commit = mill.run(numbers(mill, 500_000, ("half", "n"))).commit
    sizes = [file.size for file in commit.files]
    assert len(sizes) > 4
    assert max(sizes) < 1.5 * min(sizes)
    assert max(sizes) < 4 * 1024 * 1024
    bounds = [(file.min_values["n"], file.max_values["n"]) for file in commit.files]
    assert bounds == sorted(bounds)
    assert all(before[1] < after[0] for before, after in pairwise(bounds))
