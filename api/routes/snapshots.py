"""What is published, and publishing what was made outside."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import SUBMIT_REFUSALS, accepted, json_answer
from api.auth import Reader, Submitter
from api.bodies import json_body
from api.openapi import request_body
from api.parameters import KEY_HEADER, IdempotencyKey, NoQuery
from api.problems import TENANT_REFUSALS, responses
from api.services import Ports
from contracts.identity import Coordinate, SafeId, SafeName
from contracts.messages import Registration
from contracts.problems import ProblemError
from contracts.views import MAX_PAGE, Accepted, SnapshotPage, SnapshotView
from control import snapshot_views
from control.accepting.accept import accept
from control.accepting.submission import Submission
from control.actions import registering

router = APIRouter(prefix="/v1/snapshots", tags=["snapshots"])

EXAMPLE = {
    "entity_id": "cust_8842",
    "data_version": "v2024.10.05",
    "dataset": "orders",
    "source": "s3://partner/cust_8842/2024-10-05/",
}


class ListQuery(BaseModel):
    """The filters of a list; anything else is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity_id: SafeId | None = None
    data_version: SafeId | None = None
    dataset: SafeName | None = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=512)] | None = Field(None, description="`next_cursor` of the page before")


@router.get("", response_model=SnapshotPage, responses=responses(*TENANT_REFUSALS))
async def list_snapshots(caller: Reader, query: Annotated[ListQuery, Query()], ports: Ports) -> Response:
    """List the snapshots at your entities and at those that are shared with you."""
    filters: dict[str, Any] = query.model_dump(include={"entity_id", "data_version", "dataset"})
    return json_answer(
        await snapshot_views.page(ports.db, caller.tenant_id, filters, limit=query.limit, cursor=query.cursor)
    )


@router.get(
    "/{entity_id}/{data_version}/{dataset}",
    response_model=SnapshotView,
    responses=responses(*TENANT_REFUSALS, "not_found"),
)
async def get_snapshot(
    caller: Reader, entity_id: str, data_version: str, dataset: str, _: NoQuery, ports: Ports
) -> Response:
    """Show one snapshot: where it lies, its rows, bytes and files, and the digest of its commit."""
    try:
        place = Coordinate(entity_id, data_version, dataset)
    except ValueError:
        raise ProblemError("not_found", "there is no such snapshot") from None
    return json_answer(await snapshot_views.get(ports.db, caller.tenant_id, place))


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    openapi_extra={"requestBody": request_body(Registration, EXAMPLE), "parameters": [KEY_HEADER]},
    responses=responses(*SUBMIT_REFUSALS),
)
async def register_snapshot(
    caller: Submitter,
    _: NoQuery,
    registration: Annotated[Registration, Depends(json_body(Registration))],
    key: IdempotencyKey,
    ports: Ports,
) -> Response:
    """Publish files from outside: a process of the action that makes the dataset of them reads, checks and copies them.

    The answer is a process, as if it had been asked for by the action's name.
    """
    async with ports.db.reading() as conn:
        action = await registering(conn, caller.tenant_id, registration.dataset, key)
    submission = Submission(caller.tenant, registration.request(action), caller.actor, key)
    return accepted(await accept(ports.db, ports.inputs, ports.settings, submission))
