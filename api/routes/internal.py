"""What our own compute plane calls; every call is signed with the shared key."""

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ValidationError

from api.answers import json_answer
from api.auth import MAX_CATALOGUE_BYTES, MAX_INTAKE_BYTES, MAX_LAUNCH_BYTES, MAX_REPORT_BYTES, signed_body
from api.openapi import request_body
from api.problems import responses
from api.services import Ports
from contracts.intake import INTAKE_PATH, IntakeAnswer, IntakeRequest
from contracts.problems import ProblemError
from contracts.reading import validation_errors
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH, Catalogue, LaunchMembers, Report, ReportAnswer
from control import actions, reports
from control.log import intake

router = APIRouter(tags=["compute plane"])
_ACTOR = "code-location"
"""Who publishes the catalogue: whoever holds the shared key."""
_REFUSALS = ("unauthorized", "payload_too_large", "validation_failed", "database_unavailable")
_Model = TypeVar("_Model", bound=BaseModel)


@router.post(
    REPORT_PATH,
    response_model=ReportAnswer,
    openapi_extra={"requestBody": request_body(Report)},
    responses=responses(
        *_REFUSALS,
        "not_found",
        "attempt_superseded",
        "permit_held",
        "commit_outlives_permit",
        "version_retired",
        "lake_unavailable",
    ),
)
async def report(body: Annotated[bytes, Depends(signed_body(MAX_REPORT_BYTES))], ports: Ports) -> Response:
    """Take in what a run reports."""
    return json_answer(await reports.receive(ports.db, ports.lake, _parse(Report, body), ports.settings))


@router.post(
    INTAKE_PATH,
    response_model=IntakeAnswer,
    openapi_extra={"requestBody": request_body(IntakeRequest)},
    responses=responses(*_REFUSALS),
)
async def take_in(body: Annotated[bytes, Depends(signed_body(MAX_INTAKE_BYTES))], ports: Ports) -> Response:
    """Judge the records of one sensor tick."""
    answer = await intake.take(ports.db, ports.inputs, ports.settings, _parse(IntakeRequest, body))
    # Without what is as always: a sensor of the version before does not know the fields that came since.
    return Response(answer.model_dump_json(exclude_defaults=True), media_type="application/json")


@router.get(LAUNCH_PATH + "/{launch_id}", response_model=LaunchMembers, responses=responses(*_REFUSALS, "not_found"))
async def launch_members(
    _: Annotated[bytes, Depends(signed_body(MAX_LAUNCH_BYTES))], launch_id: UUID, ports: Ports
) -> Response:
    """Return the attempts of a launch that are still wanted."""
    return json_answer(await reports.launch_members(ports.db, launch_id))


@router.put(
    ACTIONS_PATH,
    status_code=204,
    openapi_extra={"requestBody": request_body(Catalogue)},
    responses=responses(*_REFUSALS),
)
async def publish_actions(body: Annotated[bytes, Depends(signed_body(MAX_CATALOGUE_BYTES))], ports: Ports) -> Response:
    """Replace the catalogue of actions."""
    async with ports.db.transaction() as conn:
        await actions.publish(conn, _parse(Catalogue, body), _ACTOR)
    return Response(status_code=204)


def _parse(model: type[_Model], body: bytes) -> _Model:
    # The signature proves that our own serializer wrote this: pydantic's parser, ten times as fast, is enough.
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise ProblemError("validation_failed", "a field breaks its rule", errors=validation_errors(error)) from error
