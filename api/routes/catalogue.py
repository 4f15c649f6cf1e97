"""What can be asked for."""

from fastapi import APIRouter, Response

from api.answers import json_answer
from api.auth import Reader
from api.parameters import NoQuery
from api.problems import TENANT_REFUSALS, responses
from api.services import Ports
from contracts.views import ActionCatalogue
from control.actions import catalogue

router = APIRouter(prefix="/v1/actions", tags=["actions"])


@router.get(
    "",
    response_model=ActionCatalogue,
    responses=responses(*TENANT_REFUSALS),
)
async def list_actions(_caller: Reader, _: NoQuery, ports: Ports) -> Response:
    """List the published actions, each with the JSON Schema of its parameters, and the named profiles."""
    async with ports.db.reading() as conn:
        found = await catalogue(conn)
    return json_answer(found)
