"""Backfills: one action at one data version for many entities."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import json_answer
from api.auth import Reader, Submitter
from api.bodies import json_body
from api.openapi import request_body
from api.parameters import KEY_HEADER, BackfillId, IdempotencyKey, NoQuery
from api.problems import TENANT_REFUSALS, responses
from api.services import Ports
from contracts.backfills import (
    MAX_BACKFILL_BYTES,
    BackfillPage,
    BackfillPreview,
    BackfillRequest,
    BackfillState,
    BackfillView,
)
from contracts.problems import ProblemError
from control.backfills import backfills

router = APIRouter(prefix="/v1/backfills", tags=["backfills"])
EXAMPLE = {
    "action": "aggregate_revenue",
    "data_version": "v2024.10.05",
    "select": {"with_inputs": True},
    "idempotency_key": "nightly-v2024.10.05",
}


_INSTEAD: dict[int | str, dict[str, Any]] = {
    200: {"model": BackfillView | BackfillPreview, "description": "It was there already, or the preview."}
}


MAX_BACKFILLS = 50
"""Of a page: each counts its processes."""


class CreateQuery(BaseModel):
    """How to create; anything else is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: bool = Field(False, description="Say how many entities it would be about, and make nothing.")


class ListQuery(BaseModel):
    """A page of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(20, ge=1, le=MAX_BACKFILLS)
    cursor: UUID | None = Field(None, description="`next_cursor` of the page before")


_REFUSALS = (*TENANT_REFUSALS, "not_found")


@router.post(
    "",
    status_code=201,
    response_model=BackfillView,
    openapi_extra={"requestBody": request_body(BackfillRequest, EXAMPLE), "parameters": [KEY_HEADER]},
    responses=_INSTEAD
    | responses(
        *TENANT_REFUSALS,
        "payload_too_large",
        "unsupported_media_type",
        "malformed_json",
        "duplicate_key",
        "invalid_idempotency_key",
        "unknown_action",
        "recovering",
        "callback_forbidden",
        "source_forbidden",
        "idempotency_key_reused",
    ),
)
async def create(
    caller: Submitter,
    query: Annotated[CreateQuery, Query()],
    asked: Annotated[BackfillRequest, Depends(json_body(BackfillRequest, MAX_BACKFILL_BYTES))],
    key: IdempotencyKey,
    ports: Ports,
) -> Response:
    """Ask for an action at many entities. They become ordinary processes, a window at a time.

    An Idempotency-Key may stand in the header or in the body.
    """
    if key is not None:
        if asked.idempotency_key not in {None, key}:
            raise ProblemError("invalid_idempotency_key", "the header and the body name two keys")
        asked = asked.model_copy(update={"idempotency_key": key})
    if query.dry_run:
        return json_answer(await backfills.preview(ports.db, ports.settings, caller.tenant, asked))
    made, is_repeated = await backfills.create(ports.db, ports.settings, caller, asked)
    return json_answer(made, 200 if is_repeated else 201)


@router.get("", response_model=BackfillPage, responses=responses(*TENANT_REFUSALS))
async def list_backfills(caller: Reader, query: Annotated[ListQuery, Query()], ports: Ports) -> Response:
    """List backfills, newest first."""
    return json_answer(await backfills.page(ports.db, caller.tenant_id, limit=query.limit, before=query.cursor))


@router.get("/{backfill_id}", response_model=BackfillView, responses=responses(*_REFUSALS))
async def get_backfill(caller: Reader, backfill_id: BackfillId, _: NoQuery, ports: Ports) -> Response:
    """Show how far it is, and in which states its processes are."""
    return json_answer(await backfills.get(ports.db, caller.tenant_id, backfill_id))


@router.post("/{backfill_id}:pause", response_model=BackfillView, responses=responses(*_REFUSALS, "backfill_over"))
async def pause(caller: Submitter, backfill_id: BackfillId, _: NoQuery, ports: Ports) -> Response:
    """Make no more processes, and release none of those that wait. What is in flight goes on."""
    return json_answer(await backfills.steer(ports.db, caller, backfill_id, BackfillState.PAUSED))


@router.post("/{backfill_id}:resume", response_model=BackfillView, responses=responses(*_REFUSALS, "backfill_over"))
async def resume(caller: Submitter, backfill_id: BackfillId, _: NoQuery, ports: Ports) -> Response:
    """Go on with a paused one."""
    return json_answer(await backfills.steer(ports.db, caller, backfill_id, BackfillState.EXPANDING))


@router.post("/{backfill_id}:cancel", response_model=BackfillView, responses=responses(*_REFUSALS, "backfill_over"))
async def cancel(caller: Submitter, backfill_id: BackfillId, _: NoQuery, ports: Ports) -> Response:
    """Make no more processes, and cancel those that have not ended."""
    return json_answer(await backfills.steer(ports.db, caller, backfill_id, BackfillState.CANCELLING))
