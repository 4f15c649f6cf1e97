"""PostgreSQL with TLS, as a deployment reaches it: both drivers check the certificate and the name, by one CA file.

asyncpg reads ``?ssl=verify-full`` of the URL, psycopg2 ``?sslmode=verify-full``; both read PGSSLROOTCERT.
"""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from resources.database import Database, DatabaseUnavailableError
from tests.certificates import Authority
from tests.integration.postgres_tls import TlsFront, tls_front

pytestmark = pytest.mark.anyio
NAME = "localhost"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def front(authority: Authority, postgres_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFront]:
    """The session's server behind TLS, with a certificate for ``localhost``."""
    context = authority.server_context(NAME, tmp_path_factory.mktemp("tls"))
    with tls_front(context, postgres_address) as made:
        yield made


@pytest.fixture
def place(front: TlsFront) -> str:
    return f"lakemill@{NAME}:{front.port}/postgres"


@pytest.fixture
def trusted(authority: Authority, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(authority.write_ca(tmp_path_factory.mktemp("ca"))))


@pytest.fixture
def untrusted(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(Authority().write_ca(tmp_path_factory.mktemp("ca"))))


async def by_asyncpg(url: str) -> int:
    db = Database(SecretStr(url), pool_size=2)
    try:
        async with db.transaction() as conn:
            return int(await conn.scalar(text("SELECT 42")) or 0)
    finally:
        await db.close()


def by_psycopg2(url: str) -> int:
    engine = create_engine(url)
    try:
        with engine.connect() as conn:
            return int(conn.scalar(text("SELECT 42")) or 0)
    finally:
        engine.dispose()


@pytest.mark.usefixtures("trusted")
async def test_both_drivers_speak_tls_with_one_authority_file(front: TlsFront, place: str) -> None:
    before = front.greeted
    assert await by_asyncpg(f"postgresql+asyncpg://{place}?ssl=verify-full") == 42
    assert by_psycopg2(f"postgresql://{place}?sslmode=verify-full") == 42
    assert front.greeted == before + 2


@pytest.mark.usefixtures("untrusted")
async def test_an_authority_that_signed_nothing_here_is_not_enough(place: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="SSLCertVerificationError"):
        await by_asyncpg(f"postgresql+asyncpg://{place}?ssl=verify-full")
    with pytest.raises(OperationalError, match="certificate verify failed"):
        by_psycopg2(f"postgresql://{place}?sslmode=verify-full")


@pytest.mark.usefixtures("trusted")
async def test_the_host_name_is_checked(place: str) -> None:
    by_number = place.replace(NAME, "127.0.0.1")
    with pytest.raises(DatabaseUnavailableError, match="SSLCertVerificationError"):
        await by_asyncpg(f"postgresql+asyncpg://{by_number}?ssl=verify-full")
    with pytest.raises(OperationalError, match=r'does not match host name "127\.0\.0\.1"'):
        by_psycopg2(f"postgresql://{by_number}?sslmode=verify-full")


@pytest.mark.usefixtures("trusted")
async def test_without_a_word_in_the_url_nothing_is_checked(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of both drivers takes any certificate: this is why the URL must say verify-full."""
    monkeypatch.setenv("PGSSLROOTCERT", "/absent")
    assert await by_asyncpg(f"postgresql+asyncpg://{place}") == 42
