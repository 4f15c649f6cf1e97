"""Whether a value of a JSON document, a variant, is one of a declared nested type, and that value: in Spark SQL.

What is flat in it is judged like a column: by what it says as a text (``spelling.py``).
"""

from assets.reading.spelling import fits, typed
from assets.tables.schema import Array, Map, Schema, Type, spelled_type


def nested_typed(variant: str, kind: Type, depth: int = 0) -> str:
    """Return the value of ``variant``; only where it fits it is of any use."""
    inner = f"v{depth}"  # of a lambda in a lambda
    match kind:
        case Schema(columns):
            fields = (f"'{c.name}', {nested_typed(_field(variant, c.name), c.type, depth + 1)}" for c in columns)
            value = f"named_struct({', '.join(fields)})"
        case Array(element):
            value = f"transform({_list(variant)}, {inner} -> {nested_typed(inner, element, depth + 1)})"
        case Map(_, of):
            value = f"transform_values({_map(variant)}, (k{depth}, {inner}) -> {nested_typed(inner, of, depth + 1)})"
        case _:
            return typed(_text(variant), kind, is_json=True)
    return f"if({_is_null(variant)}, CAST(NULL AS {spelled_type(kind)}), {value})"


def nested_fits(variant: str, kind: Type, depth: int = 0) -> str:
    """Return the condition under which ``variant`` is null or a value of the type, with all that is in it."""
    inner = f"v{depth}"
    match kind:
        case Schema(columns):
            fields = (nested_fits(_field(variant, c.name), c.type, depth + 1) for c in columns)
            return _null_or(variant, "OBJECT", " AND ".join(fields))
        case Array(element):
            return _null_or(
                variant, "ARRAY", f"forall({_list(variant)}, {inner} -> {nested_fits(inner, element, depth + 1)})"
            )
        case Map(_, of):
            within = f"map_values({_map(variant)})"
            return _null_or(variant, "OBJECT", f"forall({within}, {inner} -> {nested_fits(inner, of, depth + 1)})")
        case _:
            return f"coalesce({fits(_text(variant), kind, variant)}, false)"


def _null_or(variant: str, shape: str, condition: str) -> str:
    return f"({_is_null(variant)} OR (startswith(schema_of_variant({variant}), '{shape}') AND {condition}))"


def _is_null(variant: str) -> str:
    return f"({variant} IS NULL OR is_variant_null({variant}))"


def _field(variant: str, name: str) -> str:
    return f"try_variant_get({variant}, '$.{name}')"


def _text(variant: str) -> str:
    return f"variant_get({variant}, '$', 'string')"


def _list(variant: str) -> str:
    return f"try_variant_get({variant}, '$', 'array<variant>')"


def _map(variant: str) -> str:
    return f"try_variant_get({variant}, '$', 'map<string, variant>')"
