"""The allow-list's types as Arrow has them, both ways. Column types are Spark's JSON names (``long``)."""

import pyarrow as pa

from assets.tables.schema import Schema, decimal_of

_TYPES = {
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_NAMES = {kind: name for name, kind in _TYPES.items()} | {
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.large_binary(): "binary",
}


def type_name(kind: pa.DataType) -> str:
    """Return the column type of an Arrow type; of one outside the allow-list its Arrow name."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _NAMES.get(kind, str(kind))


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the schema as Arrow's. Raises ValueError for a type outside the allow-list."""
    return pa.schema([(column.name, _arrow_type(column.type)) for column in schema.columns])


def _arrow_type(name: str) -> pa.DataType:
    if decimal := decimal_of(name):
        return pa.decimal128(*decimal)
    if name not in _TYPES:
        raise ValueError(f"type {name} is not on the allow-list")
    return _TYPES[name]
