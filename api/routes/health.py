"""Is this process alive, and can it serve?"""

from fastapi import APIRouter

from api.problems import responses
from api.services import Ports

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
