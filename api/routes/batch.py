"""Many submissions in one call."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.answers import json_answer
from api.auth import Submitter
from api.bodies import json_body
from api.openapi import request_body
from api.parameters import IdempotencyKey, NoQuery
from api.problems import TENANT_REFUSALS, responses
from api.services import Ports
from contracts.messages import MAX_BATCH, MAX_BATCH_BYTES, Batch, BatchItem
from contracts.problems import ProblemError
from contracts.reading import validation_errors
from contracts.views import BatchAnswer
from control.accepting.batch import accept_many
from control.accepting.submission import Submission
from control.tenancy.keys import Caller

router = APIRouter(tags=["processes"])
EXAMPLE = {
    "processes": [
        {"entity_id": "cust_8842", "data_version": "v2024.10.05", "action": "aggregate_revenue"},
        {
            "entity_id": "cust_8843",
            "data_version": "v2024.10.05",
            "action": "aggregate_revenue",
            "idempotency_key": "cust_8843-v2024.10.05",
        },
    ]
}


class _Items(BaseModel):
    """A batch before its items are looked at: one that is malformed refuses itself, and no other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processes: list[Any] = Field(min_length=1, max_length=MAX_BATCH)


@router.post(
    "/v1/processes:batch",
    response_model=BatchAnswer,
    openapi_extra={"requestBody": request_body(Batch, EXAMPLE)},
    responses=responses(
        *TENANT_REFUSALS,
        "payload_too_large",
        "unsupported_media_type",
        "malformed_json",
        "duplicate_key",
        "invalid_idempotency_key",
        "recovering",
    ),
)
async def submit_many(
    caller: Submitter,
    _: NoQuery,
    key: IdempotencyKey,
    submitted: Annotated[_Items, Depends(json_body(_Items, MAX_BATCH_BYTES))],
    ports: Ports,
) -> Response:
    """Submit up to 1,000 processes. Each is accepted or refused as it would be alone; see its `status`."""
    if key is not None:
        raise ProblemError("invalid_idempotency_key", "each process of a batch has its own: the field idempotency_key")
    # A second of work when each of them breaks hundreds of rules: others are served in it.
    submissions = await asyncio.to_thread(lambda: [_submission(caller, item) for item in submitted.processes])
    results = await accept_many(ports.db, ports.inputs, ports.settings, submissions)
    return json_answer(BatchAnswer(results=results))


def _submission(caller: Caller, value: Any) -> Submission | ProblemError:
    try:
        item = BatchItem.model_validate(value)
    except ValidationError as error:
        return ProblemError("validation_failed", "a field breaks its rule", errors=validation_errors(error))
    return Submission(caller.tenant, item.request(), caller.actor, item.idempotency_key)
