"""Calling an action, and holding its result to the declaration."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from assets.checks import Holds
from assets.declaration import Action, refuse_infinite
from assets.errors import ActionContractError, ActionRaisedError
from assets.running.audit import broken_rows
from assets.tables.schema import Schema
from assets.tables.soundness import sound
from contracts.reading import sentences
from contracts.strict_json import canonical

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_UNSOUND = "the result cannot be published"
_TOLD = re.compile(rf"{_UNSOUND}: .+?(?= SQLSTATE|$)", re.MULTILINE)


@runtime_checkable
class _Frame(Protocol):
    schema: Any
    write: Any


def parse_params(action: Action, params: Mapping[str, Any]) -> BaseModel:
    """Return the parameters as the action's model. Raises ActionContractError naming each field that does not fit."""
    try:
        found = action.params_model.model_validate_json(canonical(dict(params)))
    except ValidationError as error:
        told = "; ".join(sentences(error))
        raise ActionContractError(f"the parameters do not fit action {action.name}: {told}") from error
    refuse_infinite(found)  # pydantic takes the text "inf" for a number
    return found


def transform(action: Action, inputs: "Mapping[str, DataFrame]", params: BaseModel) -> "DataFrame":
    """Return the action's result over ``inputs``, with exactly the declared columns.

    Values that no snapshot may hold fail the job that writes it: ``unsound_told`` says which. Of numbers with too many
    digits, dates and times the footers tell, for nothing.
    Raises ActionContractError, ActionRaisedError, and whatever the action raises.
    """
    arguments: dict[str, Any] = {**inputs, "params": params} if action.takes_params else dict(inputs)
    try:
        frame = action(**arguments)
    except SystemExit as error:  # an early exit, even with code 0, is no result
        raise ActionRaisedError(f"action {action.name} ended the interpreter (SystemExit: {error.code})") from error
    if not isinstance(frame, _Frame):
        raise ActionContractError(f"action {action.name} returned {type(frame).__name__}; return a Spark DataFrame")
    try:
        found = Schema.from_json(frame.schema.json())
    except ValueError as error:
        raise ActionContractError(f"action {action.name}: the schema of its output is unreadable: {error}") from error
    if difference := action.schema.difference(found):
        raise ActionContractError(f"action {action.name}: {difference}; end it with a select of '{action.schema}'")
    for check in action.checks:
        if isinstance(check, Holds):
            _prove(action, check, frame)
    ordered = frame.orderBy(*action.sort_by) if action.sort_by else frame
    return ordered.selectExpr(*(sound(column, _UNSOUND, decimals=False) for column in action.schema.columns))


@contextmanager
def unsound_told(action: Action) -> Iterator[None]:
    """Raise ActionContractError, which names the column, when the block fails because of what ``transform`` refuses."""
    try:
        yield
    except Exception as error:
        if told := _TOLD.search(str(error)):
            raise ActionContractError(f"action {action.name}: {told[0]}") from error
        raise


def _prove(action: Action, check: Holds, frame: "DataFrame") -> None:
    """Let Spark analyse the condition now: after the write a misspelt one would have cost a whole run."""
    from pyspark.errors import AnalysisException  # noqa: PLC0415 - only runs need Spark

    try:
        frame.selectExpr(broken_rows(check.condition))
    except AnalysisException as error:
        told = str(error).partition("\n")[0]
        raise ActionContractError(f"action {action.name}: {check} is no condition over its output: {told}") from error
