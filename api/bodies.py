"""Request bodies: bounded while they arrive, of one media type, JSON with one meaning."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel

from contracts.messages import MAX_BODY_BYTES
from contracts.problems import ProblemError
from contracts.reading import parse

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


def json_body(model: type[_Model], limit: int = MAX_BODY_BYTES) -> Callable[[Request], Awaitable[_Model]]:
    """Return a dependency that reads ``model`` from the body. The route adds ``request_body`` for the documentation."""

    async def dependency(request: Request) -> _Model:
        require_json(request)
        body = await read(request, limit)
        # A large one takes a moment, in which others are served.
        return parse(model, body) if len(body) <= MAX_BODY_BYTES else await asyncio.to_thread(parse, model, body)

    return dependency
