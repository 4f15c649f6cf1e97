"""Flat table schemas of allow-listed types, without Spark: parsed from DDL, compared, written as Spark's own JSON.

The allow-list is what every Delta and Parquet reader understands the same way. Timestamps without a zone, intervals and
nested types are not in it.
"""

import json
import re
from dataclasses import dataclass
from typing import Self

from assets.errors import ActionContractError

_NAME = re.compile(r"^[a-z_][a-z0-9_]*\Z")
_DECIMAL = re.compile(r"^decimal\((\d{1,2}),(\d{1,2})\)\Z")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^()]*\))")
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


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``type`` is Spark's JSON name of it (``long``, ``decimal(18,2)``)."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.name} {_WORDS.get(self.type, self.type)}"


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table, in order. Every column may hold nulls; a check says when it must not."""

    columns: tuple[Column, ...]

    def __str__(self) -> str:
        """Return the schema as Spark DDL."""
        return ", ".join(str(column) for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def type_of(self, name: str) -> str:
        """Return Spark's name of a column's type. Raises KeyError when there is no such column."""
        return {column.name: column.type for column in self.columns}[name]

    @classmethod
    def parse(cls, ddl: str) -> Self:
        """Read ``name type, name type, …``. Raises ActionContractError naming the column and the rule it breaks."""
        columns = tuple(_column(part.strip()) for part in _OUTSIDE_PARENTHESES.split(ddl))
        names = [column.name for column in columns]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ActionContractError(f"schema names {', '.join(sorted(repeated))} twice")
        return cls(columns)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read Spark's ``schema.json()``; nullability is ignored. Types outside the allow-list keep Spark's name."""
        fields = json.loads(text)["fields"]
        return cls(tuple(Column(field["name"], _type_name(field["type"])) for field in fields))

    def to_json(self) -> str:
        """Return what Spark's ``schema.json()`` says of a table with these columns."""
        fields = [
            {"metadata": {}, "name": column.name, "nullable": True, "type": column.type} for column in self.columns
        ]
        return json.dumps({"fields": fields, "type": "struct"}, separators=(",", ":"))

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


def decimal_of(type_name: str) -> tuple[int, int] | None:
    """Return precision and scale of ``decimal(p,s)``, or None for every other type."""
    found = _DECIMAL.match(type_name)
    return (int(found[1]), int(found[2])) if found else None


def _column(text: str) -> Column:
    name, _, written = text.replace(":", " ", 1).partition(" ")
    if not _NAME.match(name):
        raise ActionContractError(f"column {text!r}: write 'name type', the name in lower case: [a-z_][a-z0-9_]*")
    word = re.sub(r"\s+", "", written).lower()
    if decimal := decimal_of(word):
        precision, scale = decimal
        if not (1 <= precision <= 38 and scale <= precision):
            raise ActionContractError(f"column {name}: decimal(p,s) needs 1 <= p <= 38 and s <= p")
        return Column(name, f"decimal({precision},{scale})")
    if word not in _TYPES:
        raise ActionContractError(f"column {name}: type {written!r} is not one of {', '.join(_TYPES)}, decimal(p,s)")
    return Column(name, _TYPES[word])


def _type_name(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
