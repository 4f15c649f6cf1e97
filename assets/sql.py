"""Actions written in SQL: the same facts in the header comment, the query below it.

    -- output: revenue_sql
    -- inputs: orders, lineitem, people=customer       name, or name=dataset
    -- schema: month date, revenue decimal(18,2)       may be repeated, joined by commas
    -- check: not_null(month)                          one line per check
    -- param: since date = 1992-01-01                  name type [= default]; the query says :since
    -- profile: medium
    -- image: geo                                      optional: a name in the deployment's list of images
    -- description: Net revenue by month.

The file's name is the action's name. Inputs are views by their names.
"""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from assets.checks import Check, at_least, not_null, unique
from assets.declaration import Action, build
from assets.errors import ActionContractError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FACT = re.compile(r"^--\s*([a-z]+):\s*(.+?)\s*$")
_CHECK = re.compile(r"^(not_null|unique)\(([^()]+)\)$|^at_least\(\s*rows\s*=\s*(\d+)\s*\)$")
_PARAM = re.compile(r"^([a-z][a-z0-9_]*)\s+([a-z]+)(?:\s*=\s*(.+))?$")
_KNOWN = {"output", "inputs", "schema", "check", "param", "profile", "image", "description"}
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
    params_model = _params(path.stem, facts["param"])
    return build(
        name=path.stem,
        output=_one(facts, "output"),
        inputs=_inputs(facts["inputs"]),
        schema=", ".join(facts["schema"]),
        checks=[_check(line) for line in facts["check"]],
        profile=_one(facts, "profile", "small"),
        image=_one(facts, "image") if facts["image"] else None,
        description=" ".join(facts["description"]),
        params_model=params_model,
        takes_params=True,
        function=_function(path.stem, text),
        source=path,
    )


def _header(text: str) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {fact: [] for fact in _KNOWN}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        if match := _FACT.match(line):
            if match[1] not in _KNOWN:
                raise ActionContractError(f"header line {line!r}: known are {', '.join(sorted(_KNOWN))}")
            facts[match[1]].append(match[2])
    return facts


def _one(facts: dict[str, list[str]], name: str, default: str | None = None) -> str:
    values = facts[name] or ([default] if default else [])
    if len(values) != 1:
        raise ActionContractError(f"the header must say '-- {name}: …' once")
    return values[0]


def _inputs(lines: list[str]) -> dict[str, str]:
    pairs = [part.partition("=") for line in lines for part in line.split(",")]
    return {name.strip(): (dataset or name).strip() for name, _, dataset in pairs}


def _check(line: str) -> Check:
    match = _CHECK.match(line)
    if match is None:
        raise ActionContractError(f"check {line!r}: write not_null(a, b), unique(a, b) or at_least(rows=n)")
    if match[3]:
        return at_least(rows=int(match[3]))
    columns = [column.strip() for column in match[2].split(",")]
    return not_null(*columns) if match[1] == "not_null" else unique(*columns)


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
