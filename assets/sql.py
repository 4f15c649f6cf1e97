"""Actions written in SQL: the same facts in the header comment, the query below it.

    -- output: revenue_sql
    -- inputs: orders, lineitem, people=customer       name, or name=dataset
    -- schema: month date, revenue decimal(18,2)       may be repeated, joined by commas
    -- check: not_null(month)                          one line per check, as in Python but without quoting columns
    -- check: accepted_values(segment, 'A', 'B')
    -- check: holds(revenue >= 0)                      Spark SQL
    -- sort_by: month                                  optional: in which order the rows are written
    -- param: since date = 1992-01-01                  name type [= default]; the query says :since
    -- profile: medium
    -- weight: 2.5                                     optional: see docs/profiles.md
    -- image: geo                                      optional: a name in the deployment's list of images
    -- description: Net revenue by month.

The file's name is the action's name. Inputs are views by their names. The header ends where the query begins; in it a
line that begins with one word and a colon is a fact, and every other comment is prose.
"""

import ast
import re
from collections.abc import Callable
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from assets import checks
from assets.checks import Check
from assets.declaration import Action, build
from assets.errors import ActionContractError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FACT = re.compile(r"^--\s*(\w+)\s*:\s*(.*?)\s*$")
_HOLDS = re.compile(r"^holds\((.+)\)$")
_PARAM = re.compile(r"^([a-z][a-z0-9_]*)\s+([a-z]+)(?:\s*=\s*(.+))?$")
_KNOWN = {"output", "inputs", "schema", "check", "sort_by", "param", "profile", "weight", "image", "description"}
_CHECKS: dict[str, Callable[..., Check]] = {
    "not_null": checks.not_null,
    "unique": checks.unique,
    "at_least": checks.at_least,
    "at_most": checks.at_most,
    "accepted_values": checks.accepted_values,
    "accepted_range": checks.accepted_range,
}
_PARAM_TYPES: dict[str, type] = {
    "string": str,
    "int": int,
    "bigint": int,
    "double": float,
    "boolean": bool,
    "date": date,
}


def load_sql(path: Path) -> Action:
    """Read one ``.sql`` action. Raises ActionContractError naming the file and the line that does not fit."""
    try:
        return _load(path)
    except ActionContractError as error:
        raise ActionContractError(f"{path.name}: {error}") from error


def _load(path: Path) -> Action:
    text = path.read_text()
    facts = _header(text)
    if not facts["inputs"]:
        raise ActionContractError("the header must say '-- inputs: …' once: the query reads these views")
    params_model = _params(path.stem, facts["param"])
    return build(
        name=path.stem,
        output=_one(facts, "output"),
        inputs=_inputs(facts["inputs"]),
        schema=", ".join(facts["schema"]),
        checks=[_check(line) for line in facts["check"]],
        sort_by=[column.strip() for line in facts["sort_by"] for column in line.split(",")],
        profile=_one(facts, "profile", "small"),
        weight=_weight(_one(facts, "weight", "1")),
        image=_one(facts, "image") if facts["image"] else None,
        description=" ".join(facts["description"]),
        params_model=params_model,
        takes_params=True,
        function=_function(path.stem, text),
        source=path,
    )


def _header(text: str) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {fact: [] for fact in _KNOWN}
    header = takewhile(lambda line: line.startswith("--") or not line, map(str.strip, text.splitlines()))
    for line in header:
        if match := _FACT.match(line):
            if match[1] not in _KNOWN or not match[2]:
                raise ActionContractError(
                    f"header line {line!r}: write one of {', '.join(sorted(_KNOWN))}, and a value"
                )
            facts[match[1]].append(match[2])
    return facts


def _one(facts: dict[str, list[str]], name: str, default: str | None = None) -> str:
    values = facts[name] or ([default] if default else [])
    if len(values) != 1:
        raise ActionContractError(f"the header must say '-- {name}: …' once")
    return values[0]


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ActionContractError(f"weight {text!r} is not a number") from error


def _inputs(lines: list[str]) -> dict[str, str]:
    pairs = [part.partition("=") for line in lines for part in line.split(",")]
    return {name.strip(): (dataset or name).strip() for name, _, dataset in pairs}


def _check(line: str) -> Check:
    if condition := _HOLDS.match(line):
        return checks.holds(condition[1])
    try:
        # But for the quotes around names, a check in a header is the same call as in Python.
        match ast.parse(line, mode="eval").body:
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=named) if name in _CHECKS:
                by_name = {str(each.arg): _argument(each.value) for each in named}
                return _CHECKS[name](*map(_argument, arguments), **by_name)
    except (SyntaxError, TypeError, ValueError) as error:
        raise ActionContractError(f"check {line!r}: {error}") from error
    raise ActionContractError(f"check {line!r}: write one of holds, {', '.join(_CHECKS)}, like not_null(a, b)")


def _argument(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _params(name: str, lines: list[str]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for line in lines:
        match = _PARAM.match(line)
        kind = _PARAM_TYPES.get(match[2]) if match else None
        if match is None or kind is None:
            raise ActionContractError(f"param {line!r}: write 'name type [= default]', types {', '.join(_PARAM_TYPES)}")
        fields[match[1]] = (kind, _default(kind, match[3], line))
    return create_model(f"{name}_params", __config__=ConfigDict(extra="forbid", frozen=True), **fields)


def _default(kind: type, text: str | None, line: str) -> object:
    if text is None:
        return ...
    try:
        return TypeAdapter(kind).validate_strings(text)
    except ValidationError as error:
        raise ActionContractError(f"param {line!r}: the default is not a {kind.__name__}") from error


def _function(name: str, query: str) -> Callable[..., "DataFrame"]:
    def run(*, params: BaseModel, **frames: "DataFrame") -> "DataFrame":
        spark = next(iter(frames.values())).sparkSession
        for view, frame in frames.items():
            frame.createOrReplaceTempView(view)
        return spark.sql(query, args=dict(params))

    run.__name__ = name
    return run
