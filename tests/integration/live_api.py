"""The API as a server of its own: real sockets, a thread of this process."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from pydantic import SecretStr

from api.app import create_app
from contracts.reports import ACTIONS_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.strict_json import canonical
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.tenancy import keys
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.control_plane import CATALOGUE
from tests.integration.memory_lake import MemoryLake
from tests.integration.postgres import free_port

_START_SECONDS = 10


@contextmanager
def live_api(
    settings: ControlSettings, lake: MemoryLake | None = None, port: int | None = None
) -> Iterator[tuple[str, str]]:
    """Yield its address, with the tests' catalogue published, and the key of a caller who may do everything."""
    port = port or free_port()
    app = create_app(settings=settings, db=Database(settings.database_url), lake=lake or MemoryLake())
    serving = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=serving.run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _START_SECONDS
    while not serving.started and time.monotonic() < deadline:
        thread.join(0.02)
    body = canonical(CATALOGUE)
    header = {SIGNATURE_HEADER: sign(settings.internal_secret.get_secret_value(), "PUT", ACTIONS_PATH, body)}
    try:
        assert httpx.put(f"{url}{ACTIONS_PATH}", content=body, headers=header).status_code == 204
        yield url, asyncio.run(_key(settings.database_url))
    finally:
        serving.should_exit = True
        thread.join()


async def _key(url: SecretStr) -> str:
    db = Database(url, pool_size=2)
    async with db.transaction() as conn:
        key = await keys.create(conn, DEFAULT_TENANT, list(Scope))
    await db.close()
    return key.get_secret_value()
