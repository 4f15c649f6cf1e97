"""What tenants call: submit a process, look at one, list them."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import NEW_REFUSALS, SUBMIT_REFUSALS, accepted, json_answer
from api.auth import Reader, Submitter
from api.bodies import json_body
from api.openapi import request_body
from api.parameters import KEY_HEADER, IdempotencyKey, NoQuery, ProcessId
from api.problems import TENANT_REFUSALS, responses
from api.services import Ports
from contracts.identity import SafeId, SafeName
from contracts.messages import ProcessRequest
from contracts.states import State
from contracts.views import MAX_PAGE, Accepted, Preview, ProcessPage, ProcessView
from control import processes, requests
from control.accepting.accept import Joined, accept, accept_or_join
from control.accepting.preview import preview
from control.accepting.submission import Submission

router = APIRouter(prefix="/v1/processes", tags=["processes"])

EXAMPLE = {
    "entity_id": "cust_8842",
    "data_version": "v2024.10.05",
    "action": "aggregate_revenue",
    "callback_url": "https://api.internal/v1/processes/callback",
    "resource_profile": {"driver_cores": 4, "executor_instances": 8, "executor_memory": "16g"},
}
_INSTEAD: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ProcessView | Preview,
        "description": "Nothing was accepted: the process that exists, or the preview.",
    }
}


class SubmitQuery(BaseModel):
    """How to submit; anything else is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: bool = Field(False, description="Say what would become of it, and accept nothing.")
    on_conflict: Literal["refuse", "use_existing"] = Field(
        "refuse",
        description="`use_existing`: where your process at the same coordinate is under way or has succeeded, answer "
        "200 with that one, and let this `callback_url` hear of it too.",
    )


class ListQuery(BaseModel):
    """The filters of a list; anything else is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity_id: SafeId | None = None
    data_version: SafeId | None = None
    action: SafeName | None = None
    state: State | None = None
    backfill_id: UUID | None = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(None, description="`next_cursor` of the page before")


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    openapi_extra={"requestBody": request_body(ProcessRequest, EXAMPLE), "parameters": [KEY_HEADER]},
    responses=_INSTEAD | responses(*SUBMIT_REFUSALS),
)
async def submit(
    caller: Submitter,
    query: Annotated[SubmitQuery, Query()],
    submitted: Annotated[ProcessRequest, Depends(json_body(ProcessRequest))],
    key: IdempotencyKey,
    ports: Ports,
) -> Response:
    """Ask for one action at one coordinate. 202 means: it will end in exactly one terminal state."""
    if query.dry_run:
        return json_answer(await preview(ports.db, ports.inputs, ports.settings, caller.tenant, submitted))
    do = accept_or_join if query.on_conflict == "use_existing" else accept
    answer = await do(ports.db, ports.inputs, ports.settings, Submission(caller.tenant, submitted, caller.actor, key))
    if isinstance(answer, Joined):
        return json_answer(
            await processes.get(ports.db, ports.runs, ports.settings, caller.tenant_id, answer.process_id)
        )
    return accepted(answer)


@router.get(
    "",
    response_model=ProcessPage,
    responses=responses(*TENANT_REFUSALS),
)
async def list_processes(caller: Reader, query: Annotated[ListQuery, Query()], ports: Ports) -> Response:
    """List processes, newest first."""
    filters: dict[str, Any] = query.model_dump(include={"entity_id", "data_version", "action", "state", "backfill_id"})
    page = await processes.page(ports.db, caller.tenant_id, filters, limit=query.limit, cursor=query.cursor)
    return json_answer(page)


@router.get(
    "/{process_id}",
    response_model=ProcessView,
    responses=responses(*TENANT_REFUSALS, "not_found"),
)
async def get_process(caller: Reader, process_id: ProcessId, _: NoQuery, ports: Ports) -> Response:
    """Show one process: state, timeline, run, snapshot, callback."""
    return json_answer(await processes.get(ports.db, ports.runs, ports.settings, caller.tenant_id, process_id))


@router.post(
    "/{process_id}:cancel",
    response_model=ProcessView,
    responses=responses(*TENANT_REFUSALS, "not_found", "process_ended"),
)
async def cancel(caller: Submitter, process_id: ProcessId, _: NoQuery, ports: Ports) -> Response:
    """End a process, in whatever state. A commit that is there first wins: then it has succeeded.

    Where a commit may still be under way the state changes a little later; `blocked_by` says so.
    """
    await requests.cancel(ports.db, ports.lake, ports.settings, caller, process_id)
    return json_answer(await processes.get(ports.db, ports.runs, ports.settings, caller.tenant_id, process_id))


@router.post(
    "/{process_id}:retry",
    status_code=202,
    response_model=Accepted,
    openapi_extra={"parameters": [KEY_HEADER]},
    responses=responses(*NEW_REFUSALS, "process_not_retriable"),
)
async def retry(
    caller: Submitter,
    process_id: ProcessId,
    _: NoQuery,
    key: IdempotencyKey,
    ports: Ports,
) -> Response:
    """Make a new process of the request of one that failed, was cancelled or expired."""
    return accepted(await requests.retry(ports.db, ports.inputs, ports.settings, caller, process_id, key))
