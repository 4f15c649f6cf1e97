"""Rows with nested columns in an action's unit test: written as dictionaries and lists, and returned so."""

from typing import Any

from assets.declaration import action, landing
from assets.testing import compute

DDL = "n int, at struct<city string, zips array<struct<zip int>>>, seen map<string, struct<n int>>"


def test_nested_rows_go_in_and_come_out_as_dictionaries_and_lists() -> None:
    @action(inputs={"orders": landing("jsonl", DDL)}, output="kept", schema=DDL)
    def kept(orders: Any) -> Any:
        return orders.where("at.city = 'x'")

    row = {"n": 1, "at": {"city": "x", "zips": [{"zip": 1}, None]}, "seen": {"a": {"n": 2}, "b": None}}
    assert compute(kept, orders=[row, {"n": 2, "at": {"city": "y"}}, {"n": 3}]) == [row]
