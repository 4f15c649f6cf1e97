"""What a declaration may say, and how loudly everything else is refused."""

import math
from typing import Any

import pytest
from pydantic import BaseModel, Field

from assets.checks import identifiers
from assets.declaration import (
    Action,
    accepted_range,
    accepted_values,
    action,
    at_least,
    at_most,
    holds,
    landing,
    not_null,
    unique,
)
from assets.errors import ActionContractError
from assets.running.transform import parse_params
from assets.tables.schema import Column, Schema


class Params(BaseModel):
    least: int = 1


def declare(**changes: Any) -> Action:
    facts: dict[str, Any] = {"inputs": {"orders": "orders"}, "output": "revenue", "schema": "n bigint"} | changes

    def revenue_of(orders: object) -> object:
        """Revenue."""
        return orders

    declared: Action = action(**facts)(revenue_of)  # type: ignore[arg-type] # no DataFrame without Spark
    return declared


def test_an_action_carries_its_declaration_and_stays_a_function() -> None:
    declared = declare(checks=[not_null("n"), unique("n"), at_least(rows=2)], profile="medium")
    assert (declared.name, declared.output, declared.profile) == ("revenue_of", "revenue", "medium")
    assert declared.description == "Revenue."
    assert declared.snapshot_inputs == {"orders": "orders"}
    assert [str(check) for check in declared.checks] == ["not_null(n)", "unique(n)", "at_least(rows=2)"]
    returned: Any = declared("frame")
    assert returned == "frame"
    assert not declared.takes_params
    assert len(declared.digest) == 64


def test_a_weight_is_a_positive_number() -> None:
    assert (declare().weight, declare(weight=2.5).weight) == (1.0, 2.5)
    for weight in (0, -1, 1001, float("nan")):
        with pytest.raises(ActionContractError, match="weight"):
            declare(weight=weight)


def test_parameters_are_a_pydantic_model() -> None:
    @action(inputs={"orders": "orders"}, output="revenue", schema="n bigint")
    def with_params(orders: Any, params: Params) -> Any:
        return orders, params

    assert with_params.takes_params
    assert with_params.params_model is Params
    with pytest.raises(
        ActionContractError, match="action with_params: least: int_parsing: Input should be a valid integer"
    ):
        parse_params(with_params, {"least": "few"})

    with pytest.raises(ActionContractError, match="pydantic"):

        @action(inputs={}, output="revenue", schema="n bigint")
        def with_a_dict(params: dict[str, Any]) -> Any:
            return params


def test_a_default_that_json_does_not_have_is_refused_by_its_field() -> None:
    """A commit would record it as null."""

    class Bounds(BaseModel):
        high: float = math.inf

    class Limits(BaseModel):
        least: float = 0.5
        each: list[Bounds] = [Bounds(high=1), Bounds()]
        names: list[str] = Field(default_factory=list)
        wanted: int

    with pytest.raises(ActionContractError, match=r": params\.each\.1\.high must be a finite number"):

        @action(inputs={}, output="revenue", schema="n bigint")
        def with_limits(params: Limits) -> Any:
            return params


def test_raw_files_are_an_input_and_no_lineage() -> None:
    declared = declare(inputs={"orders": landing("csv", "a int")})
    assert declared.snapshot_inputs == {}
    assert declared.landing_inputs["orders"].schema == Schema((Column("a", "integer"),))
    with pytest.raises(ActionContractError, match="csv"):
        landing("avro", "a int")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"schema": ""}, "name type"),
        ({"schema": "n"}, "type ''"),
        ({"schema": "n bigint,"}, "name type"),
        ({"schema": "n timestamp_ntz"}, "not one of"),
        ({"schema": "n decimal(39,2)"}, "decimal"),
        ({"schema": "n decimal(5,6)"}, "decimal"),
        ({"schema": "N bigint"}, "lower case"),
        ({"schema": "a-b bigint"}, "lower case"),
        ({"schema": "`a b` bigint"}, "lower case"),
        ({"schema": "n bigint, n int"}, "twice"),
        ({"checks": [not_null("month")]}, "month"),
        ({"checks": [unique("n", "m")]}, "m"),
        ({"checks": [not_null()]}, "at least one column"),
        ({"checks": [at_least(rows=-1)]}, "not negative"),
        ({"checks": [at_most(rows=0.5)]}, "per="),
        ({"checks": [at_most(rows=0.5, per="lineitem")]}, "there are: orders"),
        ({"checks": [accepted_values("n")]}, "at least one value"),
        ({"checks": [accepted_values("n", "A")]}, "'A' is no value"),
        ({"checks": [accepted_values("n", True)]}, "True is no value"),
        ({"checks": [accepted_range("n")]}, "at_least="),
        ({"checks": [accepted_range("n", at_least=2, at_most=1)]}, "wrong way round"),
        ({"checks": [accepted_range("n", at_least=0.5)]}, "0.5 is no value"),
        ({"schema": "n string", "checks": [accepted_range("n", at_least="a")]}, "a number, a date or a timestamp"),
        ({"schema": "n date", "checks": [accepted_range("n", at_least="yesterday")]}, "'yesterday' is no value"),
        ({"schema": "n double", "checks": [accepted_range("n", at_least=float("nan"))]}, "nan is no value"),
        ({"checks": [holds(" ")]}, "needs a condition"),
        ({"sort_by": ["n", "day"]}, "sort_by names columns that the schema does not have: day"),
        ({"output": "Revenue"}, "lower-case"),
        ({"output": "../x"}, "lower-case"),
        ({"inputs": {"orders": "Orders/x"}}, "lower-case"),
        ({"inputs": {"lineitem": "orders"}}, "name them alike"),
        ({"inputs": {"orders": "orders", "more": "more"}}, "name them alike"),
    ],
)
def test_a_malformed_declaration_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ActionContractError, match=rule):
        declare(**changes)


def test_checks_have_names_that_dagster_takes() -> None:
    checks = [unique("n", "m"), holds("n > 0"), holds("n < 0"), accepted_values("n", 1), at_least(rows=0.5, per="a")]
    names = identifiers(checks)
    assert names == ["unique_n_m", "holds_n_0", "holds_n_0_3", "accepted_values_n_1", "at_least_rows_0_5_per_a"]
    long = identifiers([holds(f"n > {'0' * 300}"), holds(f"n > {'0' * 301}")])
    assert len(set(long)) == 2
    assert max(map(len, long)) < 70


ALL_TYPES = """
    a boolean, b tinyint, c smallint, d int, e bigint, f float, g double, h decimal(18, 2), i string, j binary, k date,
    l timestamp, m byte, n integer, o: string
"""


def test_a_schema_is_written_as_it_was_read() -> None:
    schema = Schema.parse(ALL_TYPES)
    assert Schema.parse(str(schema)) == schema
    assert Schema.from_json(schema.to_json()) == schema
    assert [column.type for column in schema.columns] == [
        *("boolean", "byte", "short", "integer", "long", "float", "double", "decimal(18,2)"),
        *("string", "binary", "date", "timestamp", "byte", "integer", "string"),
    ]


def test_the_schema_is_sparks_own_json() -> None:
    import json  # noqa: PLC0415

    from pyspark.sql.types import StructType  # noqa: PLC0415 - the other tests need no Spark

    text = Schema.parse(ALL_TYPES).to_json()
    assert StructType.fromJson(json.loads(text)).json() == text


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ("a int, b string", None),
        ("a int", "missing columns: ['b']; columns not declared: none"),
        ("a int, b string, c int", "missing columns: none; columns not declared: ['c']"),
        ("b string, a int", "another order: b, a instead of a, b"),
        ("a bigint, b string", "wrong types: a bigint instead of a int"),
    ],
)
def test_a_difference_is_said_in_one_sentence(found: str, sentence: str | None) -> None:
    difference = Schema.parse("a int, b string").difference(Schema.parse(found))
    assert difference is None if sentence is None else sentence in (difference or "")
