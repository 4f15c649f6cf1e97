"""What tenants call: submit a process, look at one, list them."""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.auth import Reader, Submitter
from api.bodies import NoQuery, json_body
from api.openapi import request_body
from api.problems import responses
from api.services import Ports
from contracts.identity import SafeId, SafeName
from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.states import State
from contracts.views import MAX_PAGE, Accepted, ProcessPage, ProcessView
from control import processes
from control.accept import accept

router = APIRouter(prefix="/v1/processes", tags=["processes"])

EXAMPLE = {
    "entity_id": "cust_8842",
    "data_version": "v2024.10.05",
    "action": "aggregate_revenue",
    "callback_url": "https://api.internal/v1/processes/callback",
    "resource_profile": {"driver_cores": 4, "executor_instances": 8, "executor_memory": "16g"},
}
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeat a submit safely: the same key and body get the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


class ListQuery(BaseModel):
    """The filters of a list; anything else is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity_id: SafeId | None = None
    data_version: SafeId | None = None
    action: SafeName | None = None
    state: State | None = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(None, description="`next_cursor` of the page before")


async def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key; raises ProblemError unless it stands once and is 1 to 255 visible characters."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= 255 or not all("\x21" <= character <= "\x7e" for character in key):
        raise ProblemError("invalid_idempotency_key", "it must stand once, as 1 to 255 visible ASCII characters")
    return key


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    openapi_extra={"requestBody": request_body(ProcessRequest, EXAMPLE), "parameters": [_KEY_HEADER]},
    responses=responses(
        "unauthorized",
        "forbidden",
        "payload_too_large",
        "unsupported_media_type",
        "malformed_json",
        "duplicate_key",
        "invalid_idempotency_key",
        "validation_failed",
        "unknown_action",
        "missing_input",
        "callback_forbidden",
        "idempotency_key_reused",
        "action_changed",
        "process_active",
        "version_already_published",
        "version_retired",
        "database_unavailable",
    ),
)
async def submit(
    caller: Submitter,
    _: NoQuery,
    submitted: Annotated[ProcessRequest, Depends(json_body(ProcessRequest))],
    key: Annotated[str | None, Depends(idempotency_key)],
    ports: Ports,
) -> Response:
    """Ask for one action at one coordinate. 202 means: it will end in exactly one terminal state."""
    answer = await accept(ports.db, ports.inputs, ports.settings, caller.tenant, submitted, key)
    headers = {"Location": answer.body["links"]["self"]}
    if answer.is_repeated:
        headers["Idempotency-Replayed"] = "true"
    return Response(json.dumps(answer.body), 202, headers, "application/json")


@router.get(
    "",
    response_model=ProcessPage,
    responses=responses("unauthorized", "forbidden", "validation_failed", "database_unavailable"),
)
async def list_processes(caller: Reader, query: Annotated[ListQuery, Query()], ports: Ports) -> Response:
    """List processes, newest first."""
    filters: dict[str, Any] = query.model_dump(include={"entity_id", "data_version", "action", "state"})
    page = await processes.page(ports.db, caller.tenant, filters, limit=query.limit, cursor=query.cursor)
    return _json(page)


@router.get(
    "/{process_id}",
    response_model=ProcessView,
    responses=responses("unauthorized", "forbidden", "not_found", "database_unavailable"),
)
async def get_process(
    caller: Reader, process_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})], ports: Ports
) -> Response:
    """Show one process: state, timeline, run, snapshot, callback."""
    try:
        wanted = UUID(process_id)
    except ValueError:
        raise ProblemError("not_found", "there is no such process") from None
    return _json(await processes.get(ports.db, ports.runs, caller.tenant, wanted))


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
