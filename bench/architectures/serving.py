"""What both APIs of the field share: the request, and an app that keeps a pool of connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

from bench.architectures.settings import connect
from contracts.identity import SafeId


class Request(BaseModel):
    """What is asked for; the action is ``ingest_{table}`` or ``aggregate_revenue``."""

    entity_id: SafeId
    data_version: SafeId
    action: str

    @property
    def dataset(self) -> str:
        """What the action makes."""
        return "revenue" if self.action == "aggregate_revenue" else self.action.removeprefix("ingest_")


def pooled_app() -> FastAPI:
    """Return an app whose ``state.pool`` is open while it serves."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = await connect()
        yield
        await app.state.pool.close()

    return FastAPI(lifespan=lifespan)
