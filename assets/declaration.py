"""What an action file imports: the decorator, the landing input and the checks.

Everything that can be wrong in a declaration is refused here, when the file is imported, with an ActionContractError
that names the file's action and the rule.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict

from assets.checks import Check, at_least, not_null, unique
from assets.errors import ActionContractError
from assets.schema import Schema
from contracts.identity import safe_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["Action", "Landing", "action", "at_least", "landing", "not_null", "unique"]

DECLARATION_VERSION = 1
"""Part of every digest: a change in what a declaration means changes what ran."""


class NoParams(BaseModel):
    """The parameters of an action that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Landing:
    """Raw files as they were delivered to ``{entity_id}/{data_version}/{input name}/`` in the landing bucket."""

    format: Literal["csv", "parquet"]
    schema: Schema


def landing(format: Literal["csv", "parquet"], schema: str) -> Landing:  # noqa: A002 - reads like Spark's reader
    """Declare raw files as an input. CSV has a header line whose names must match ``schema`` (DDL)."""
    if format not in {"csv", "parquet"}:
        raise ActionContractError(f"landing format {format!r}: use 'csv' or 'parquet'")
    return Landing(format, Schema.parse(schema))


@dataclass(frozen=True)
class Action:
    """A published transformation. Call it like the plain function it decorates."""

    name: str
    output: str
    inputs: Mapping[str, str | Landing]
    """Parameter name → dataset, or raw files."""
    schema: Schema
    checks: tuple[Check, ...]
    profile: str
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
    profile: str = "small",
    image: str | None = None,
) -> Callable[[Callable[..., "DataFrame"]], Action]:
    """Declare the decorated function an action: see docs/adding-an-action.md. Raises ActionContractError."""

    def declare(function: Callable[..., "DataFrame"]) -> Action:
        params_model, takes_params = _params_model(function)
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
            profile=profile,
            image=image,
            description=inspect.getdoc(function) or "",
            params_model=params_model,
            takes_params=takes_params,
            function=function,
            source=Path(inspect.getfile(function)),
        )

    return declare


def build(*, name: str, schema: str, checks: Sequence[Check], source: Path, **facts: Any) -> Action:
    """Make an Action of the facts that a ``.py`` or a ``.sql`` file declares. Raises ActionContractError."""
    try:
        safe_name(name)
        for dataset in (facts["output"], *facts["inputs"], *_datasets(facts["inputs"])):
            safe_name(dataset)
        columns = Schema.parse(schema)
        _validate_checks(columns, checks)
    except (ValueError, ActionContractError) as error:
        raise ActionContractError(f"action {name} ({source.name}): {error}") from error
    prefix = f"lakemill action {DECLARATION_VERSION}\n".encode()
    digest = hashlib.sha256(prefix + source.read_bytes()).hexdigest()
    return Action(name=name, schema=columns, checks=tuple(checks), digest=digest, **facts)


def _datasets(inputs: Mapping[str, str | Landing]) -> list[str]:
    return [source for source in inputs.values() if isinstance(source, str)]


def _validate_checks(schema: Schema, checks: Sequence[Check]) -> None:
    for check in checks:
        if unknown := [column for column in check.columns if column not in schema.names]:
            raise ActionContractError(f"{check} names columns that the schema does not have: {', '.join(unknown)}")
        if str(check).endswith("()"):
            raise ActionContractError(f"{check} needs at least one column")


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
