"""Table schemas of allow-listed types, without Spark: parsed from DDL, compared, written as Spark's own JSON.

The allow-list is what every Delta and Parquet reader understands the same way. Timestamps without a zone and intervals
are not in it. A nested type is a struct, an array or a map of such types, in turn; a table is a struct of columns.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, Union

from assets.errors import ActionContractError
from contracts.strict_json import loads

MAX_NESTED = 5
"""Structs, arrays and maps inside each other, below a table."""

_NAME = re.compile(r"^[a-z_][a-z0-9_]*\Z")
_DECIMAL = re.compile(r"^decimal\((\d{1,2}),(\d{1,2})\)\Z")
_NESTED = re.compile(r"^(array|map|struct)\s*<(.*)>\Z", re.IGNORECASE | re.DOTALL)
_TYPES = {  # DDL word -> the name in Spark's JSON
    "boolean": "boolean",
    "byte": "byte",
    "tinyint": "byte",
    "smallint": "short",
    "int": "integer",
    "integer": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "binary": "binary",
    "date": "date",
    "timestamp": "timestamp",
}
_WORDS = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}

Type = Union[str, "Array", "Map", "Schema"]
"""A flat type is Spark's JSON name of it (``long``, ``decimal(18,2)``); a struct is the schema of its fields."""


@dataclass(frozen=True, slots=True)
class Array:
    """Any number of elements, each of which may be null."""

    element: Type

    def __str__(self) -> str:
        return f"array<{spelled_type(self.element)}>"


@dataclass(frozen=True, slots=True)
class Map:
    """Keys of a flat type, never null and none twice; each value may be null."""

    key: str
    value: Type

    def __str__(self) -> str:
        return f"map<{spelled_type(self.key)}, {spelled_type(self.value)}>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or field of a struct."""

    name: str
    type: Type

    def __str__(self) -> str:
        return f"{self.name} {spelled_type(self.type)}"


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table, or the fields of a struct, in order. Each may be null; a check says when it must not."""

    columns: tuple[Column, ...]

    def __str__(self) -> str:
        """Return the schema as Spark DDL."""
        return ", ".join(str(column) for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def nested(self) -> tuple[str, ...]:
        """The names of the columns that are structs, arrays and maps, in order."""
        return tuple(column.name for column in self.columns if not isinstance(column.type, str))

    def type_of(self, name: str) -> str:
        """Return Spark's name of a column's type, of a nested one its DDL. Raises KeyError without such a column."""
        (kind,) = (column.type for column in self.columns if column.name == name)
        return kind if isinstance(kind, str) else spelled_type(kind)

    @classmethod
    def parse(cls, ddl: str) -> Self:
        """Read ``name type, name type, …``. Raises ActionContractError naming the column and the rule it breaks."""
        return cls(_columns(ddl, (), MAX_NESTED))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read Spark's ``schema.json()``; nullability is ignored. Types outside the allow-list keep Spark's name.

        Raises ValueError, KeyError or TypeError for anything else.
        """
        return cls(tuple(Column(field["name"], _from_spark(field["type"])) for field in loads(text.encode())["fields"]))

    def to_json(self) -> str:
        """Return what Spark's ``schema.json()`` says of a table with these columns."""
        return json.dumps(_to_spark(self), separators=(",", ":"), sort_keys=True)

    def difference(self, found: "Schema") -> str | None:
        """Say in one sentence how ``found`` differs from this schema, or return None when it does not."""
        if self.names != found.names:
            missing = [name for name in self.names if name not in found.names]
            extra = [name for name in found.names if name not in self.names]
            if missing or extra:
                return f"missing columns: {missing or 'none'}; columns not declared: {extra or 'none'}"
            return f"the columns stand in another order: {', '.join(found.names)} instead of {', '.join(self.names)}"
        wrong = [f"{b} instead of {a}" for a, b in zip(self.columns, found.columns, strict=True) if a != b]
        return f"wrong types: {'; '.join(wrong)}" if wrong else None


def spelled_type(kind: Type) -> str:
    """Return a type as Spark DDL."""
    match kind:
        case Schema():
            return f"struct<{kind}>"
        case str():
            return _WORDS.get(kind, kind)
        case _:
            return str(kind)


def maps_in(kind: Type) -> Iterator[Map]:
    """Yield every map that a type holds, itself included."""
    match kind:
        case Schema(columns):
            for column in columns:
                yield from maps_in(column.type)
        case Array(element):
            yield from maps_in(element)
        case Map(_, value):
            yield kind
            yield from maps_in(value)


def decimal_of(type_name: str) -> tuple[int, int] | None:
    """Return precision and scale of ``decimal(p,s)``, or None for every other type."""
    found = _DECIMAL.match(type_name)
    return (int(found[1]), int(found[2])) if found else None


def _columns(ddl: str, path: tuple[str, ...], levels: int) -> tuple[Column, ...]:
    """Read the columns of a table, or the fields of the struct at ``path``, that may nest ``levels`` deep."""
    columns = tuple(_column(part.strip(), path, levels) for part in _split(ddl))
    names = [column.name for column in columns]
    if repeated := {".".join((*path, name)) for name in names if names.count(name) > 1}:
        raise ActionContractError(f"schema names {', '.join(sorted(repeated))} twice")
    return columns


def _column(text: str, path: tuple[str, ...], levels: int) -> Column:
    name, _, written = text.replace(":", " ", 1).partition(" ")
    if not _NAME.match(name):
        told = ".".join((*path, repr(text)))
        raise ActionContractError(f"column {told}: write 'name type', the name in lower case: [a-z_][a-z0-9_]*")
    return Column(name, _type(written.strip(), (*path, name), levels))


def _type(written: str, path: tuple[str, ...], levels: int) -> Type:
    nested = _NESTED.match(written)
    if nested is None:
        return _flat_type(written, ".".join(path))
    if not levels:
        raise ActionContractError(f"column {'.'.join(path)}: types may be nested {MAX_NESTED} deep")
    word, inside = nested[1].lower(), nested[2]
    if word == "struct":
        return Schema(_columns(inside, path, levels - 1))
    if word == "array":
        return Array(_type(inside.strip(), (*path, "element"), levels - 1))
    parts = [part.strip() for part in _split(inside)]
    if len(parts) != 2:
        raise ActionContractError(f"column {'.'.join(path)}: write map<key, value>")
    return Map(_flat_type(parts[0], ".".join((*path, "key"))), _type(parts[1], (*path, "value"), levels - 1))


def _flat_type(written: str, where: str) -> str:
    word = re.sub(r"\s+", "", written).lower()
    if decimal := decimal_of(word):
        precision, scale = decimal
        if not (1 <= precision <= 38 and scale <= precision):
            raise ActionContractError(f"column {where}: decimal(p,s) needs 1 <= p <= 38 and s <= p")
        return f"decimal({precision},{scale})"
    if word not in _TYPES:
        allowed = ", ".join(_TYPES)
        raise ActionContractError(f"column {where}: type {written!r} is not one of {allowed}, decimal(p,s)")
    return _TYPES[word]


def _split(text: str) -> Iterator[str]:
    """Yield what stands between the commas that are outside of all brackets."""
    depth = start = 0
    for place, letter in enumerate(text):
        depth += (letter in "(<") - (letter in ")>")
        if letter == "," and not depth:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _from_spark(told: Any) -> Type:
    match told:
        case str():
            return told
        case {"type": "struct", "fields": fields}:
            return Schema(tuple(Column(field["name"], _from_spark(field["type"])) for field in fields))
        case {"type": "array", "elementType": element}:
            return Array(_from_spark(element))
        case {"type": "map", "keyType": str() as key, "valueType": value}:
            return Map(key, _from_spark(value))
        case _:
            return json.dumps(told, sort_keys=True)


def _to_spark(kind: Type) -> Any:
    """Return a type as Spark's JSON has it, everything nullable that can be: an inner null breaks no promise."""
    match kind:
        case Schema(columns):
            rest: dict[str, Any] = {"nullable": True, "metadata": {}}
            return {"type": "struct", "fields": [{"name": c.name, "type": _to_spark(c.type), **rest} for c in columns]}
        case Array(element):
            return {"type": "array", "elementType": _to_spark(element), "containsNull": True}
        case Map(key, value):
            return {"type": "map", "keyType": key, "valueType": _to_spark(value), "valueContainsNull": True}
        case _:
            return kind
