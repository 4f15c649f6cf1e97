"""What an action file imports: the decorator, the landing input and the checks.

Everything that can be wrong in a declaration is refused here, when the file is imported, with an ActionContractError
that names the file's action and the rule.
"""

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_jsonable_python

from assets.checks import (
    Check,
    accepted_range,
    accepted_values,
    at_least,
    at_most,
    holds,
    not_null,
    unique,
    validate,
)
from assets.errors import ActionContractError
from assets.tables.schema import Schema, maps_in
from contracts.identity import safe_name
from contracts.reports import MOST_WEIGHT
from contracts.sources import SourceParams

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = [
    "Action",
    "Landing",
    "accepted_range",
    "accepted_values",
    "action",
    "at_least",
    "at_most",
    "holds",
    "landing",
    "not_null",
    "unique",
]

Format = Literal["csv", "jsonl", "parquet"]
"""Of raw files."""

DECLARATION_VERSION = 1
"""Part of every digest: a change in what a declaration means changes what ran."""


class NoParams(BaseModel):
    """The parameters of an action that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Landing:
    """Raw files as they were delivered to ``{entity_id}/{data_version}/{input name}/`` in the landing bucket."""

    format: Format
    schema: Schema


def landing(format: Format, schema: str) -> Landing:  # noqa: A002 - reads like Spark's reader
    """Declare raw files as an input: ``csv``, ``jsonl`` (JSON Lines) or ``parquet``, with ``schema`` (DDL).

    CSV has a header line whose names must match, and no nested columns. In JSON Lines a field that is absent is null,
    others are ignored, and the keys of a map are strings.
    """
    if format not in get_args(Format):
        raise ActionContractError(f"landing format {format!r}: use one of {', '.join(get_args(Format))}")
    columns = Schema.parse(schema)
    if format == "csv" and columns.nested:
        raise ActionContractError(f"landing format 'csv' cannot hold nested columns: {', '.join(columns.nested)}")
    if format == "jsonl" and (odd := [found for found in maps_in(columns) if found.key != "string"]):
        raise ActionContractError(f"landing format 'jsonl' has strings for a map's keys, not {odd[0]}")
    return Landing(format, columns)


@dataclass(frozen=True)
class Action:
    """A published transformation. Call it like the plain function it decorates."""

    name: str
    output: str
    inputs: Mapping[str, str | Landing]
    """Parameter name → dataset, or raw files."""
    schema: Schema
    checks: tuple[Check, ...]
    sort_by: tuple[str, ...]
    """Columns that the rows are ordered by, across all files of a snapshot; empty for no order."""
    profile: str
    weight: float
    """How much heap it wants for a byte of input (docs/profiles.md)."""
    image: str | None
    """A name in the deployment's list of images; None for its usual one."""
    description: str
    params_model: type[BaseModel]
    takes_params: bool
    function: Callable[..., "DataFrame"]
    digest: str
    """SHA-256 (hex) of the source file."""

    def __call__(self, *args: Any, **kwargs: Any) -> "DataFrame":
        """Run the plain function."""
        return self.function(*args, **kwargs)

    @property
    def registers(self) -> bool:
        """Whether it reads one delivery and nothing else; then a request may say where that lies."""
        return self.params_model is SourceParams

    @property
    def snapshot_inputs(self) -> dict[str, str]:
        """Parameter name → dataset, for the inputs that are snapshots."""
        return {name: source for name, source in self.inputs.items() if isinstance(source, str)}

    @property
    def landing_inputs(self) -> dict[str, Landing]:
        """Parameter name → raw files, for the inputs that are not."""
        return {name: source for name, source in self.inputs.items() if isinstance(source, Landing)}


def action(
    *,
    inputs: Mapping[str, str | Landing],
    output: str,
    schema: str,
    checks: Sequence[Check] = (),
    sort_by: Sequence[str] = (),
    profile: str = "small",
    weight: float = 1.0,
    image: str | None = None,
) -> Callable[[Callable[..., "DataFrame"]], Action]:
    """Declare the decorated function an action: see docs/adding-an-action.md. Raises ActionContractError."""

    def declare(function: Callable[..., "DataFrame"]) -> Action:
        params_model, takes_params = _params_model(function)
        if not takes_params and [type(source) for source in inputs.values()] == [Landing]:
            params_model = SourceParams
        expected = [*inputs, *(["params"] if takes_params else [])]
        found = list(inspect.signature(function).parameters)
        if sorted(found) != sorted(expected):
            raise ActionContractError(
                f"action {function.__name__}: its parameters are {found}, its inputs {list(inputs)}; name them alike"
            )
        return build(
            name=function.__name__,
            output=output,
            inputs=inputs,
            schema=schema,
            checks=checks,
            sort_by=sort_by,
            profile=profile,
            weight=weight,
            image=image,
            description=inspect.getdoc(function) or "",
            params_model=params_model,
            takes_params=takes_params,
            function=function,
            source=Path(inspect.getfile(function)),
        )

    return declare


def build(
    *, name: str, schema: str, checks: Sequence[Check], sort_by: Sequence[str], source: Path, **facts: Any
) -> Action:
    """Make an Action of the facts that a ``.py`` or a ``.sql`` file declares. Raises ActionContractError."""
    try:
        safe_name(name)
        for dataset in (facts["output"], *facts["inputs"], *_datasets(facts["inputs"])):
            safe_name(dataset)
        columns = Schema.parse(schema)
        _validate_order(columns, sort_by)
        _validate_weight(facts["weight"])
        fields = facts["params_model"].model_fields.items()
        refuse_infinite({name: field.default for name, field in fields if not field.is_required()})
        for check in checks:
            validate(check, columns, facts["inputs"])
    except (ValueError, ActionContractError) as error:
        raise ActionContractError(f"action {name} ({source.name}): {error}") from error
    prefix = f"lakemill action {DECLARATION_VERSION}\n".encode()
    digest = hashlib.sha256(prefix + source.read_bytes()).hexdigest()
    return Action(name=name, schema=columns, checks=tuple(checks), sort_by=tuple(sort_by), digest=digest, **facts)


def refuse_infinite(params: BaseModel | Mapping[str, Any]) -> None:
    """Return unless parameters hold NaN or an infinity, which JSON does not have: no commit could say what ran.

    Raises ActionContractError naming each field.
    """
    told = to_jsonable_python(params, inf_nan_mode="constants", fallback=repr)
    if places := list(_infinite(told, "params")):
        raise ActionContractError(f"{', '.join(places)} must be a finite number")


def _infinite(value: Any, place: str) -> Iterator[str]:
    match value:
        case float() if not math.isfinite(value):
            yield place
        case dict():
            for name, inner in value.items():
                yield from _infinite(inner, f"{place}.{name}")
        case list():
            for number, inner in enumerate(value):
                yield from _infinite(inner, f"{place}.{number}")


def _validate_weight(weight: float) -> None:
    if not 0 < weight <= MOST_WEIGHT:
        raise ActionContractError(f"weight {weight}: must be above 0 and at most {MOST_WEIGHT}")


def _validate_order(schema: Schema, sort_by: Sequence[str]) -> None:
    if unknown := [column for column in sort_by if column not in schema.names]:
        raise ActionContractError(f"sort_by names columns that the schema does not have: {', '.join(unknown)}")
    if nested := [column for column in sort_by if column in schema.nested]:
        raise ActionContractError(f"sort_by names nested columns, which have no order: {', '.join(nested)}")


def _datasets(inputs: Mapping[str, str | Landing]) -> list[str]:
    return [source for source in inputs.values() if isinstance(source, str)]


def _params_model(function: Callable[..., Any]) -> tuple[type[BaseModel], bool]:
    annotation = inspect.get_annotations(function).get("params")
    if annotation is None:
        return NoParams, "params" in inspect.signature(function).parameters
    # Only this one annotation is resolved: the others may name types that are imported for type checkers only.
    holder = type("Holder", (), {"__annotations__": {"params": annotation}})
    model = get_type_hints(holder, globalns=function.__globals__)["params"]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ActionContractError(f"action {function.__name__}: annotate params with a pydantic model")
    return model, True
