"""Is this process alive, can it serve, and how does the control plane stand?"""

from fastapi import APIRouter, Request, Response

from api.metrics import CONTENT_TYPE, page
from api.problems import responses
from api.services import Ports
from control.gauges import gauges
from resources.database import DatabaseUnavailableError

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Answer without touching anything."""
    return {"status": "alive"}


@router.get("/readyz", responses=responses("database_unavailable"))
async def ready(ports: Ports) -> dict[str, str]:
    """Answer once PostgreSQL does."""
    await ports.db.ping()
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, ports: Ports) -> Response:
    """Answer in Prometheus's text format. Without PostgreSQL this process's own counts are all there is."""
    try:
        found = await gauges(ports.db)
    except DatabaseUnavailableError:
        found = None
    return Response(page(request.app.state.metrics, found), media_type=CONTENT_TYPE)
