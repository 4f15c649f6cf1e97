"""What routes answer: a view as JSON, the 202 of what was accepted, and what a submit may be refused for."""

import json

from fastapi import Response
from pydantic import BaseModel

from api.problems import TENANT_REFUSALS
from control.accepting.accept import Answer

NEW_REFUSALS = (
    *TENANT_REFUSALS,
    "not_found",
    "invalid_idempotency_key",
    "unknown_action",
    "recovering",
    "missing_input",
    "callback_forbidden",
    "source_forbidden",
    "idempotency_key_reused",
    "action_changed",
    "backlog_full",
    "process_active",
    "version_already_published",
    "version_retired",
)
"""What anything that would make a new process may be answered."""


SUBMIT_REFUSALS = (
    *NEW_REFUSALS,
    "payload_too_large",
    "unsupported_media_type",
    "malformed_json",
    "duplicate_key",
    "conflicting_request",
    "too_many_subscribers",
)
"""What a submit may be answered."""


def json_answer(model: BaseModel, status: int = 200) -> Response:
    """Return a view as it is: a route that returned the model would have FastAPI validate it once more."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def accepted(answer: Answer) -> Response:
    """Return the 202 of what was accepted, or of its first answer."""
    headers = {"Location": answer.body["links"]["self"]}
    if answer.is_repeated:
        headers["Idempotency-Replayed"] = "true"
    return Response(json.dumps(answer.body), 202, headers, "application/json")
