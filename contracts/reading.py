"""Bytes to a model, with refusals that name every broken rule and never a value. HTTP bodies and records alike."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from contracts.problems import ProblemError
from contracts.strict_json import MalformedJsonError, loads

_SHOWN = 64
_LOOKED_AT = 100_000
_Model = TypeVar("_Model", bound=BaseModel)


class BrokenRules(Protocol):
    """pydantic's ValidationError, and the framework's own for parameters."""

    def errors(self) -> Sequence[Mapping[str, Any]]:
        """Return one mapping for each broken rule, with ``loc``, ``type`` and ``msg``."""


def parse(model: type[_Model], body: bytes) -> _Model:
    """Read ``model`` from strict JSON. Raises ProblemError: malformed_json, duplicate_key, validation_failed."""
    try:
        value: Any = loads(body)
    except MalformedJsonError as error:
        raise ProblemError(error.code, str(error)) from error
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ProblemError("validation_failed", "a field breaks its rule", errors=validation_errors(error)) from error


def validation_errors(error: BrokenRules) -> list[dict[str, str]]:
    """Return ``{field, rule}`` for every broken rule; never a value of the request.

    Of more than 100,000 it tells the number: pydantic gives all of them or none, and others wait while it does.
    """
    if not isinstance(error, ValidationError):
        return _named(error.errors())
    if error.error_count() > _LOOKED_AT:
        return [{"field": "body", "rule": f"breaks {error.error_count()} rules, which are too many to name"}]
    return _named(error.errors(include_url=False, include_context=False, include_input=False))


def _named(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "field": ".".join(str(part)[:_SHOWN] for part in found["loc"])[: 4 * _SHOWN] or "body",
            "rule": _rule(found["type"], found["msg"]),
        }
        for found in errors
    ]


def sentences(error: BrokenRules) -> list[str]:
    """Return ``field: rule`` for every broken rule, as ``validation_errors`` has them."""
    return [f"{each['field']}: {each['rule']}" for each in validation_errors(error)]


def _rule(kind: str, message: str) -> str:
    # pydantic's own messages name types and bounds; only a literal's or an enum's could quote at length.
    text = message.removeprefix("Value error, ")
    return f"{kind}: {text[:200]}"
