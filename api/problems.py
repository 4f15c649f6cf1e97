"""Every refusal as problem+json: our own, the framework's, and what nobody foresaw."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from contracts.problem_codes import PROBLEMS
from contracts.problems import ProblemError
from contracts.reading import validation_errors
from resources.database import DatabaseUnavailableError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
BY_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "payload_too_large", 415: "unsupported_media_type"}
"""Codes of what the framework itself refuses."""
TENANT_REFUSALS = ("unauthorized", "too_many_requests", "forbidden", "validation_failed", "database_unavailable")
"""What every call of a tenant may be answered."""


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""

    @app.exception_handler(ProblemError)
    async def refused(_: Request, error: ProblemError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(DatabaseUnavailableError)
    async def database_unavailable(_: Request, error: DatabaseUnavailableError) -> JSONResponse:
        log.error("database.unavailable", error=str(error))
        return answer(ProblemError("database_unavailable", "the database does not answer"))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer(ProblemError("validation_failed", "the request breaks a rule", errors=validation_errors(error)))

    @app.exception_handler(HTTPException)
    async def by_framework(_: Request, error: HTTPException) -> JSONResponse:
        code = BY_STATUS.get(error.status_code, "malformed_json" if error.status_code < 500 else "internal_error")
        return answer(ProblemError(code, HTTPStatus(error.status_code).phrase), error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        log.error("request.failed", exc_info=error)
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        return answer(ProblemError("internal_error", "the log has the cause under this id", request_id=request_id))


def answer(problem: ProblemError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response to a refusal."""
    status = problem.problem.status
    own: dict[str, str] = {}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        own["Retry-After"] = str(problem.extra.get("retry_after", RETRY_AFTER_SECONDS))
    if status == HTTPStatus.UNAUTHORIZED:
        own["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        own["Connection"] = "close"
    return JSONResponse(problem.document(), status, {**own, **(headers or {})}, MEDIA_TYPE)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the problem responses of a route, for the documentation."""
    by_status: dict[int | str, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": " · ".join(found),
            "content": {MEDIA_TYPE: {"schema": schema, "examples": {code: _example(code) for code in found}}},
        }
        for status, found in by_status.items()
    }


def _example(code: str) -> dict[str, Any]:
    problem = PROBLEMS[code]
    return {"summary": problem.title, "value": ProblemError(code, problem.cause).document()}
