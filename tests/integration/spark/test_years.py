"""Years that no snapshot may hold: what an action makes of the usual last day, and what is delivered."""

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from assets.declaration import action, landing
from assets.errors import ActionContractError, InputCorruptError
from contracts.reasons import ReasonCode
from tests.integration.spark_mill import Mill
from tests.parquet_snapshots import parquet

TOO_LATE = (date.max - date(1970, 1, 1)).days + 1
DAY_MICROS = 86_400_000_000


def refused(mill: Mill, code: ReasonCode) -> None:
    """The last run has published nothing, and says why."""
    told, message = mill.failure
    assert told is code, message
    assert "column valid_to" in message
    assert "outside the years 1 to 9999" in message
    assert not [found for found in mill.lake.list(f"{mill.entity}/") if "_delta_log" in found.key]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("date", "date_add(DATE'9999-12-31', 1)"),
        ("timestamp", "TIMESTAMP'9999-12-31 23:59:59.999999' + INTERVAL '1' SECOND"),
        ("timestamp", "TIMESTAMP'0001-01-01' - INTERVAL '1' SECOND"),
        ("array<date>", "array(date_add(DATE'9999-12-31', 1))"),
    ],
)
def test_what_an_action_makes_is_the_actions_own_fault(mill: Mill, kind: str, made: str) -> None:
    @action(inputs={}, output="made", schema=f"n bigint, valid_to {kind}")
    def late() -> Any:
        return mill.spark.range(3).selectExpr("id AS n", f"{made} AS valid_to")

    with pytest.raises(ActionContractError):
        mill.run(late)
    refused(mill, ReasonCode.ACTION_CONTRACT)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("date", pa.array([0, TOO_LATE], pa.int32()).cast(pa.date32())),
        ("timestamp", pa.array([0, TOO_LATE * DAY_MICROS], pa.int64()).cast(pa.timestamp("us", "UTC"))),
    ],
    ids=["date", "timestamp"],
)
def test_what_is_delivered_is_the_deliverys(mill: Mill, kind: str, stored: pa.Array) -> None:
    mill.deliver("rows", "a.parquet", parquet(pa.table({"valid_to": stored})))

    @action(inputs={"rows": landing("parquet", f"valid_to {kind}")}, output="kept", schema="n bigint")
    def kept(rows: Any) -> Any:
        return rows.groupBy().count().selectExpr("count AS n")

    with pytest.raises(InputCorruptError):
        mill.run(kept)
    refused(mill, ReasonCode.INPUT_CORRUPT)
