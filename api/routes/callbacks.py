"""The callbacks of a process: how their delivery went, and sending them again."""

from fastapi import APIRouter, Response

from api.answers import json_answer
from api.auth import Reader, Submitter
from api.parameters import NoQuery, ProcessId
from api.problems import TENANT_REFUSALS, responses
from api.services import Ports
from contracts.views import Callbacks
from control.callbacks.deliveries import callbacks_of
from control.callbacks.deliveries import redeliver as send_again

router = APIRouter(prefix="/v1/processes/{process_id}/callbacks", tags=["callbacks"])
_REFUSALS = (*TENANT_REFUSALS, "not_found")


@router.get(
    "",
    response_model=Callbacks,
    responses=responses(*_REFUSALS),
)
async def list_callbacks(caller: Reader, process_id: ProcessId, _: NoQuery, ports: Ports) -> Response:
    """Show the callbacks of a process with every try; there are none before it has ended."""
    return json_answer(await callbacks_of(ports.db, caller.tenant_id, process_id))


@router.post(":redeliver", status_code=202, response_model=Callbacks, responses=responses(*_REFUSALS, "no_callback"))
async def redeliver(caller: Submitter, process_id: ProcessId, _: NoQuery, ports: Ports) -> Response:
    """Send the callbacks again, delivered or given up: the same bytes under the same webhook-id."""
    await send_again(ports.db, caller, process_id)
    return json_answer(await callbacks_of(ports.db, caller.tenant_id, process_id), 202)
