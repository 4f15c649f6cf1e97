"""Fixtures over real servers: one PostgreSQL per session, one fresh database per test."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.migrate import migrate
from control.tenancy import keys
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.control_plane import ControlPlane
from tests.integration.memory_lake import MemoryLake
from tests.integration.postgres import BIN, postgres
from tests.integration.tenant import Caller, make_tenant

INTERNAL_SECRET = "internal-secret-of-the-tests"
TEMPLATE = "lakemill_template"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def _admin(address: str, command: str, *arguments: str) -> None:
    user, _, place = address.partition("@")
    host, _, port = place.partition(":")
    subprocess.run([str(BIN / command), "-h", host, "-p", port, "-U", user, *arguments], check=True)


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """``user@host:port`` of the session's server; its template database has every table."""
    with postgres() as address:
        _admin(address, "createdb", TEMPLATE)

        async def prepare() -> None:
            db = Database(SecretStr(f"postgresql+asyncpg://{address}/{TEMPLATE}"), statement_seconds=60)
            await migrate(db)
            await db.close()

        asyncio.run(prepare())
        yield address


@pytest.fixture
def empty_database_url(postgres_address: str) -> Iterator[SecretStr]:
    """A database without any table."""
    name = f"empty_{uuid4().hex}"
    _admin(postgres_address, "createdb", name)
    yield SecretStr(f"postgresql+asyncpg://{postgres_address}/{name}")
    _admin(postgres_address, "dropdb", "--force", name)


@pytest.fixture
def database_url(postgres_address: str) -> Iterator[SecretStr]:
    """A migrated database of this test's own."""
    name = f"test_{uuid4().hex}"
    _admin(postgres_address, "createdb", "-T", TEMPLATE, name)
    yield SecretStr(f"postgresql+asyncpg://{postgres_address}/{name}")
    _admin(postgres_address, "dropdb", "--force", name)


@pytest.fixture
async def db(database_url: SecretStr) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=40)
    yield database
    await database.close()


@pytest.fixture
def settings(database_url: SecretStr) -> ControlSettings:
    return ControlSettings(
        database_url=database_url,
        internal_secret=SecretStr(INTERNAL_SECRET),
        callback_allow=("127.0.0.0/8",),
    )


@pytest.fixture
def lake() -> MemoryLake:
    return MemoryLake()


@pytest.fixture
async def plane(db: Database, settings: ControlSettings, lake: MemoryLake) -> AsyncIterator[ControlPlane]:
    """The API with a published catalogue and a key that may do everything."""
    app = create_app(settings=settings, db=db, lake=lake)
    async with db.transaction() as conn:
        key = await keys.create(conn, DEFAULT_TENANT, list(Scope))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        plane = ControlPlane(http, db, lake, settings, key.get_secret_value())
        assert (await plane.publish()).status_code == 204
        yield plane


@pytest.fixture
async def acme(plane: ControlPlane) -> Caller:
    """A tenant without limits."""
    return await make_tenant(plane, "acme")
