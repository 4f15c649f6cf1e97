"""The allow-list's types as Arrow has them, both ways. Column types are Spark's JSON names (``long``)."""

from collections.abc import Iterable

import pyarrow as pa

from assets.tables.schema import MAX_NESTED, Array, Column, Map, Schema, Type, decimal_of

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
    pa.binary_view(): "binary",
}
_LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)


def table_schema(found: pa.Schema) -> Schema:
    """Return what an Arrow schema says. A type outside the allow-list, or nested too deep, keeps its Arrow name."""
    return _columns(found, MAX_NESTED)


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the schema as Arrow's. Raises ValueError for a type outside the allow-list."""
    return pa.schema(_fields(schema))


def _columns(fields: Iterable[pa.Field], levels: int) -> Schema:
    return Schema(tuple(Column(field.name, _type_of(field.type, levels)) for field in fields))


def _type_of(kind: pa.DataType, levels: int) -> Type:
    kind = _stored(kind)
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if levels and pa.types.is_struct(kind):
        return _columns(kind.fields, levels - 1)
    if levels and pa.types.is_map(kind):
        key = _type_of(kind.key_type, 0)
        return Map(key if isinstance(key, str) else str(key), _type_of(kind.item_type, levels - 1))
    if levels and isinstance(kind, _LISTS):
        return Array(_type_of(kind.value_type, levels - 1))
    return _NAMES.get(kind, str(kind))


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the type as the file stores it: a writer may note beside it how it had the values in memory.

    Timestamps with a zone are stored in UTC, and so are those of writers that name another one.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return _stored(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _stored(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp(kind.unit, "UTC")
    return pa.int64() if pa.types.is_duration(kind) else kind


def _fields(schema: Schema) -> list[pa.Field]:
    return [pa.field(column.name, _arrow_type(column.type)) for column in schema.columns]


def _arrow_type(kind: Type) -> pa.DataType:
    match kind:
        case Schema():
            return pa.struct(_fields(kind))
        case Array(element):
            return pa.list_(_arrow_type(element))
        case Map(key, value):
            return pa.map_(_arrow_type(key), _arrow_type(value))
    if decimal := decimal_of(kind):
        return pa.decimal128(*decimal)
    if kind not in _TYPES:
        raise ValueError(f"type {kind} is not on the allow-list")
    return _TYPES[kind]
