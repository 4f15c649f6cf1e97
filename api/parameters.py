"""What routes take beside a body: the process in the path, and nothing that they do not know."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from contracts.problems import ProblemError


async def _process_id(process_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> UUID:
    try:
        return UUID(process_id)
    except ValueError:
        raise ProblemError("not_found", "there is no such process") from None


ProcessId = Annotated[UUID, Depends(_process_id)]
"""A route parameter: the process in the path. What is no UUID is answered like what does not exist."""


async def _no_query(request: Request) -> None:
    # A misspelt option that is silently ignored would do what the caller did not ask for.
    for name in request.query_params:
        errors = [{"field": name[:64], "rule": "is not an option of this call"}]
        raise ProblemError("validation_failed", "this call has no such option", errors=errors)


NoQuery = Annotated[None, Depends(_no_query)]
"""A route parameter: refuses every query string."""
