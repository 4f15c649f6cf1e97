"""Request bodies: bounded while they arrive, of one media type, JSON with one meaning."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.problems import validation_errors
from contracts.messages import MAX_BODY_BYTES
from contracts.problems import ProblemError
from contracts.strict_json import MalformedJsonError, loads

_Model = TypeVar("_Model", bound=BaseModel)
_CHARSETS = {"", "utf-8", "utf8"}


async def read(request: Request, limit: int) -> bytes:
    """Return the body. Raises ProblemError: payload_too_large, by its announced or its real size."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise ProblemError("payload_too_large", f"the body has {announced} bytes; {limit} are read")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ProblemError("payload_too_large", f"the body has more than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def require_json(request: Request) -> None:
    """Raise ProblemError (unsupported_media_type) unless the body is plain JSON in UTF-8."""
    kind, *parameters = request.headers.get("content-type", "").lower().split(";")
    named = dict(part.strip().partition("=")[::2] for part in parameters)
    charset = named.get("charset", "").strip('"')
    if kind.strip() != "application/json" or charset not in _CHARSETS:
        raise ProblemError("unsupported_media_type", "the content type is not application/json in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError("unsupported_media_type", "an encoded body is not read")


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


def json_body(model: type[_Model], limit: int = MAX_BODY_BYTES) -> Callable[[Request], Awaitable[_Model]]:
    """Return a dependency that reads ``model`` from the body. The route adds ``request_body`` for the documentation."""

    async def dependency(request: Request) -> _Model:
        require_json(request)
        return parse(model, await read(request, limit))

    return dependency


async def _no_query(request: Request) -> None:
    # A misspelt option that is silently ignored would do what the caller did not ask for.
    for name in request.query_params:
        errors = [{"field": name[:64], "rule": "is not an option of this call"}]
        raise ProblemError("validation_failed", "this call has no such option", errors=errors)


NoQuery = Annotated[None, Depends(_no_query)]
"""A route parameter: refuses every query string."""
