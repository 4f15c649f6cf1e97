"""The runner with real Spark and a real S3 server; what it commits is read by foreign Delta readers."""

import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import deltalake
import pyarrow as pa
import pytest
from pyspark.sql import functions as F  # noqa: N812 - how Spark code is read

from assets.declaration import action, not_null, unique
from assets.running.task import Published
from assets.snapshots.reader import open_snapshot
from assets.snapshots.verify import verify
from contracts.identity import Coordinate
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import dataset_prefix
from resources.lake.store import S3Lake
from resources.spark.losses import lost_driver_of
from resources.spark.storage import COMMITTER, SparkUnavailableError, assert_committer
from tests.integration.spark_mill import RUN_ID, SMALL, Mill, table_of
from tests.s3_server import SECRET_KEY, lossy_proxy, settings_for

ALL_TYPES = """
    a boolean, b tinyint, c smallint, d int, e bigint, f float, g double, h decimal(38,4), i string, j binary, k date,
    l timestamp
"""
ROW = (
    *(True, 1, -2, 3, 2**60, 1.5, 2.5, Decimal("-123456789012345678901234567890.1234")),
    *("ä\n", bytearray(b"\0x"), date(1900, 2, 3), datetime(2024, 10, 5, 1, 2, 3, 456789, tzinfo=UTC)),
)


def test_every_type_comes_back_as_it_was(mill: Mill) -> None:
    published = mill.run(table_of(mill, ALL_TYPES, [ROW, (None,) * 12], checks=[unique("e")]))
    (row, nulls) = mill.read(published).sort("e", nulls_last=True).rows()
    assert row == (*ROW[:9], bytes(ROW[9]), *ROW[10:])
    assert set(nulls) == {None}
    snapshot = open_snapshot(mill.lake, published.commit.coordinate)
    assert snapshot.to_spark(mill.spark).where("a").count() == 1
    assert verify(mill.lake, published.commit.coordinate).ok
    table = deltalake.DeltaTable(published.url, storage_options=mill.reader_options)
    skipped = table.to_pyarrow_table(filters=[("k", "<", date(1900, 1, 1))])
    assert skipped.num_rows == 0


def test_delta_writers_refuse_a_sealed_table(mill: Mill) -> None:
    published = mill.run(table_of(mill, "n bigint", [(1,), (2,)]))
    before = {found.key: mill.lake.get(found.key) for found in mill.lake.list(f"{mill.entity}/")}
    options = mill.reader_options
    more = pa.table({"n": [3]})
    table = deltalake.DeltaTable(published.url, storage_options=options)
    for attempt in (
        lambda: deltalake.write_deltalake(published.url, more, mode="append", storage_options=options),
        lambda: deltalake.write_deltalake(published.url, more, mode="overwrite", storage_options=options),
        lambda: table.delete("n = 1"),
    ):
        with pytest.raises(Exception, match=r"(?i)feature|append-only"):
            attempt()
    assert {found.key: mill.lake.get(found.key) for found in mill.lake.list(f"{mill.entity}/")} == before


def test_orphans_and_foreign_folders_are_invisible(mill: Mill) -> None:
    published = mill.run(table_of(mill, "n bigint", [(1,), (2,)]))
    home = published.commit.coordinate
    body = mill.lake.get(dataset_prefix(home) + _path_of_first_file(published)) or b""
    mill.lake.put(f"{dataset_prefix(home)}{published.commit.provenance.token}/part-99999-orphan.parquet", body)
    mill.lake.put(f"{dataset_prefix(home)}{RUN_ID}-7-0123456789abcdef/part-00000-foreign.parquet", body)
    assert sorted(mill.read(published)["n"].to_list()) == [1, 2]
    assert open_snapshot(mill.lake, home).to_spark(mill.spark).count() == 2
    assert verify(mill.lake, home).ok


def _path_of_first_file(published: Published) -> str:
    return f"{published.commit.provenance.token}/{published.commit.files[0].name}"


def test_a_commit_whose_answer_is_lost_is_our_own(mill: Mill) -> None:
    with lossy_proxy(mill.store.s3_endpoint or "") as (address, proxy):
        proxy.lose = 1
        tools = replace(mill.tools, lake=S3Lake(settings_for(address), "lake"), sleep=lambda _: None)
        published = mill.run(table_of(mill, "n bigint", [(1,)]), tools=tools)
    assert proxy.lost == 1
    assert mill.control.events[-1] is Event.SUCCEEDED
    assert mill.read(published)["n"].to_list() == [1]


def test_what_goes_wrong_while_spark_computes_is_the_actions_reason(mill: Mill) -> None:
    @action(inputs={}, output="made", schema="n bigint")
    def divides() -> Any:
        return mill.spark.range(3).select(F.expr("1 div (id - id)").alias("n"))

    with pytest.raises(Exception, match="DIVIDE_BY_ZERO"):
        mill.run(divides)
    code, message = mill.failure
    assert code is ReasonCode.ACTION_RAISED
    assert "DIVIDE_BY_ZERO" in message
    assert "\n" not in message


def test_python_functions_run_in_this_environment(mill: Mill) -> None:
    @action(inputs={}, output="made", schema="path string")
    def where() -> Any:
        return mill.spark.range(1).select(F.udf(lambda _: sys.executable)("id").alias("path"))

    assert mill.read(mill.run(where))["path"].to_list() == [sys.executable]


def test_a_failed_check_publishes_nothing(mill: Mill) -> None:
    made = table_of(mill, "n bigint, m string", [(1, "a"), (1, "a"), (2, None)], checks=[unique("n"), not_null("m")])
    with pytest.raises(Exception, match="unique"):
        mill.run(made)
    code, message = mill.failure
    assert code is ReasonCode.CHECK_FAILED
    assert "1 rows too many" in message
    assert "m has 1 nulls" in message
    assert not verify(mill.lake, Coordinate(mill.entity, "v1", "made")).ok


def test_an_input_file_that_is_gone_is_input_corrupt(mill: Mill) -> None:
    published = mill.run(table_of(mill, "n bigint", [(1,)]))
    mill.lake.delete([dataset_prefix(published.commit.coordinate) + _path_of_first_file(published)])

    @action(inputs={"made": "made"}, output="copied", schema="n bigint")
    def copied(made: Any) -> Any:
        return made

    with pytest.raises(Exception, match=r".+"):
        mill.run(copied)
    assert mill.failure[0] is ReasonCode.INPUT_CORRUPT


def test_the_session_is_proven_and_carries_no_secret(mill: Mill) -> None:
    spark = mill.spark
    context: Any = spark.sparkContext
    assert_committer(spark)
    settings = dict(context.getConf().getAll())
    assert settings.items() >= COMMITTER.items()
    assert SECRET_KEY not in str(settings)
    assert SECRET_KEY not in Path(f"/proc/{context._gateway.proc.pid}/cmdline").read_text()
    name = "spark.sql.sources.commitProtocolClass"
    spark.conf.set(name, "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol")
    with pytest.raises(SparkUnavailableError, match="commitProtocolClass"):
        assert_committer(spark)
    spark.conf.set(name, COMMITTER[name])
    with pytest.raises(SparkUnavailableError, match="another profile"):
        mill.sessions.open(Profile(driver_memory="3g"))


def test_a_jvm_that_is_killed_ends_the_attempt_and_no_more(mill: Mill, tmp_path: Path) -> None:
    @action(inputs={}, output="made", schema="n bigint")
    def kills() -> Any:
        frame, context = mill.spark.range(1), cast("Any", mill.spark.sparkContext)
        os.kill(context._gateway.proc.pid, signal.SIGKILL)
        return frame

    with pytest.raises(Exception, match=r".+"):
        mill.run(kills)
    code, message = mill.failure
    assert code is ReasonCode.SPARK_UNAVAILABLE
    assert message.startswith("the JVM of Spark's driver has ended with code -9; ")
    assert mill.control.reports[-1].resources == {"granted": SMALL.model_dump()}
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 1\n")
    assert (lost_driver_of(mill.spark, [tmp_path / "memory.events"]) or "").endswith(" -9, OOMKilled")
    mill.sessions.close()
    assert mill.run(table_of(mill, "n bigint", [(1,)])).commit.rows == 1  # with a JVM of its own
