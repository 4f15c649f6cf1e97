"""What routes take beside a body: what the path names, the Idempotency-Key, and nothing that they do not know."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from contracts.problems import ProblemError

KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeat a submit safely: the same key and body get the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
"""How a route that takes ``IdempotencyKey`` documents it."""
_Id = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


async def _process_id(process_id: _Id) -> UUID:
    return _uuid(process_id, "process")


async def _backfill_id(backfill_id: _Id) -> UUID:
    return _uuid(backfill_id, "backfill")


def _uuid(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ProblemError("not_found", f"there is no such {what}") from None


ProcessId = Annotated[UUID, Depends(_process_id)]
"""A route parameter: the process in the path. What is no UUID is answered like what does not exist."""
BackfillId = Annotated[UUID, Depends(_backfill_id)]
"""As ``ProcessId``, of a backfill."""


async def _idempotency_key(request: Request) -> str | None:
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= 255 or not all("\x21" <= character <= "\x7e" for character in key):
        raise ProblemError("invalid_idempotency_key", "it must stand once, as 1 to 255 visible ASCII characters")
    return key


IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
"""A route parameter: the Idempotency-Key. Refused unless it stands once and is 1 to 255 visible characters."""


async def _no_query(request: Request) -> None:
    # A misspelt option that is silently ignored would do what the caller did not ask for.
    for name in request.query_params:
        errors = [{"field": name[:64], "rule": "is not an option of this call"}]
        raise ProblemError("validation_failed", "this call has no such option", errors=errors)


NoQuery = Annotated[None, Depends(_no_query)]
"""A route parameter: refuses every query string."""
