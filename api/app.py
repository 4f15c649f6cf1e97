"""The application: one factory, one bootstrap. ``uvicorn --factory api.app:create_app``."""

import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import openapi, problems
from api.logs import RequestLog
from api.metrics import RequestMetrics
from api.rates import Rates
from api.routes import backfills, batch, callbacks, catalogue, health, internal, processes, snapshots
from api.services import Services
from control.accepting.inputs import InputCheck
from control.log.direct_records import tell_unknown_tenants
from control.processes import RunReader
from control.snapshots import CommitReader
from resources.dagster.runs import DagsterRuns
from resources.database import Database
from resources.lake.store import S3Lake
from resources.settings import ControlSettings, control_settings
from resources.structured_logs import log_as_json


def create_app(
    *,
    settings: ControlSettings | None = None,
    db: Database | None = None,
    lake: CommitReader | None = None,
    runs: RunReader | None = None,
) -> FastAPI:
    """Return the API. Nothing is read or opened before it starts; tests pass their own parts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if settings is None:  # a process of its own
                log_as_json()
            found = settings or control_settings()
            database = db or _closing(stack, Database(found.database_url))
            store = lake or S3Lake(found, found.lake_bucket)
            reader = runs or _run_reader(stack, found)
            app.state.services = Services(found, database, store, reader, InputCheck(database, store), Rates())
            await tell_unknown_tenants(database, found)
            if settings is None:
                _keep_what_is_loaded()
            yield

    app = FastAPIOffline(title="Lakemill", version="1", lifespan=lifespan, redoc_url=None)
    app.state.metrics = RequestMetrics()
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    problems.install(app)
    openapi.install(app)
    for routes in (health, processes, batch, callbacks, backfills, catalogue, snapshots, internal):
        app.include_router(routes.router)
    return app


def _keep_what_is_loaded() -> None:
    """Take what is loaded by now out of garbage collection: a walk through it would hold every request that waits."""
    gc.collect()
    gc.freeze()


def _run_reader(stack: AsyncExitStack, settings: ControlSettings) -> RunReader | None:
    if settings.dagster_database_url is None:
        return None
    reader = DagsterRuns(settings.dagster_database_url, settings.dagster_ui_url)
    stack.push_async_callback(reader.close)
    return reader


def _closing(stack: AsyncExitStack, database: Database) -> Database:
    stack.push_async_callback(database.close)
    return database
