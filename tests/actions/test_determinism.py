"""Every deployed action gives the same rows for the same inputs, however they are cut into files and ordered."""

import importlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from assets.declaration import Action, Landing
from assets.registry import registry
from assets.running.transform import parse_params, transform
from assets.tables.schema import Array, Map, Schema, Type
from assets.testing import local_spark

ROWS = 400


VALUES: dict[str, Callable[[int], Any]] = {
    "string": lambda number: f"word {number}",
    "binary": lambda number: bytes([number]),
    "boolean": lambda number: number % 2 == 0,
    "date": lambda number: date(2024, number, number),
    "timestamp": lambda number: datetime(2024, 1, 1, number, tzinfo=UTC),
    "decimal": lambda number: Decimal(number) / 10,
    # No sum of these is the same in every order.
    "float": lambda number: number / 7,
    "double": lambda number: number / 7,
}


def value_of(kind: Type, chance: Random) -> Any:
    """Return one of few values, so that rows meet in joins and groups; now and then a null."""
    number = chance.randrange(1, 12)
    if chance.random() < 0.05:
        return None
    match kind:
        case Schema(columns):
            return tuple(value_of(column.type, chance) for column in columns)
        case Array(element):
            return [value_of(element, chance) for _ in range(number % 3)]
        case Map(key, value):
            return {flat_value(key, each): value_of(value, chance) for each in range(1, 1 + number % 3)}
    return flat_value(kind, number)


def flat_value(kind: str, number: int) -> Any:
    return VALUES.get(kind.partition("(")[0], int)(number)


def schema_of(source: str | Landing) -> Schema:
    if isinstance(source, Landing):
        return source.schema
    return next(action.schema for action in registry() if action.output == source)


def frame_of(name: str, schema: Schema, order: int) -> DataFrame:
    """Return the same rows for a name, in an order and number of partitions of their own for each ``order``."""
    chance = Random(name)  # noqa: S311 - rows, no secrets
    rows = [tuple(value_of(column.type, chance) for column in schema.columns) for _ in range(ROWS)]
    Random(order).shuffle(rows)  # noqa: S311
    frame = local_spark().createDataFrame(rows, StructType.fromJson(json.loads(schema.to_json())))
    return frame.repartition(1 + 6 * order)


def params_of(action: Action) -> dict[str, Any]:
    """Return what the action's own test says; of an action whose parameters all have defaults it need say nothing."""
    required = action.params_model.model_json_schema().get("required", [])
    if not required:
        return {}
    own = importlib.import_module(f"tests.actions.test_{action.name}")
    assert hasattr(own, "PARAMS"), f"{own.__name__} must say PARAMS, a dict with {', '.join(required)}"
    params: dict[str, Any] = own.PARAMS
    return params


def rows_of(action: Action, params: dict[str, Any], order: int) -> list[str]:
    frames = {name: frame_of(name, schema_of(source), order) for name, source in action.inputs.items()}
    local_spark().conf.set("spark.sql.shuffle.partitions", str(1 + 4 * order))
    return sorted(map(repr, transform(action, frames, parse_params(action, params)).collect()))


@pytest.mark.parametrize("action", list(registry()), ids=lambda action: action.name)
def test_the_same_inputs_give_the_same_rows(action: Action) -> None:
    params = params_of(action)
    first = rows_of(action, params, 0)
    assert first
    assert rows_of(action, params, 1) == first
