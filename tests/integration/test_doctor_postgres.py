"""The checks of PostgreSQL against a real server, with roles and databases that lack something."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from cli.doctor.check import Group, Status
from cli.doctor.postgres import RIGHTS
from cli.doctor.site import Options, Site
from control import tables  # noqa: F401 - they declare their tables when they are imported
from control.backfills import tables as backfill_tables  # noqa: F401
from control.log import tables as log_tables  # noqa: F401
from control.recovery import tables as recovery_tables  # noqa: F401
from control.schema import metadata
from resources.database import Database
from resources.settings import ControlSettings
from tests.doctor import ask, ask_group, proves
from tests.integration.conftest import TEMPLATE
from tests.integration.postgres import BIN

DAGSTER = (
    "CREATE TABLE runs (run_id text, status text, create_timestamp timestamp, start_time float8, end_time float8);"
    "CREATE TABLE run_tags (run_id text, key text, value text)"
)


@pytest.fixture(scope="module")
def reader(postgres_address: str) -> Iterator[str]:
    """A role of the server that owns nothing."""
    name = f"reader_{uuid4().hex}"
    psql(postgres_address, "postgres", f"CREATE ROLE {name} LOGIN")
    yield name
    psql(postgres_address, "postgres", f"DROP ROLE {name}")


@pytest.fixture(scope="module")
def narrow(postgres_address: str) -> Iterator[tuple[SecretStr, SecretStr, str]]:
    """A migrated database: its owner's URL, and the URL and the name of a role that may what it must."""
    name = f"narrow_{uuid4().hex}"
    owner = SecretStr(f"postgresql+asyncpg://{postgres_address}/{name}")
    psql(postgres_address, "postgres", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    psql(postgres_address, name, f"CREATE ROLE {name} LOGIN; {grants(name)}")
    yield owner, as_role(owner, name), name
    psql(postgres_address, "postgres", f"DROP DATABASE {name} WITH (FORCE)")
    psql(postgres_address, "postgres", f"DROP ROLE {name}")


def grants(role: str) -> str:
    """Return the statements that let ``role`` do what it must, and nothing else."""
    return "; ".join(f"GRANT {', '.join(rights)} ON {table} TO {role}" for table, rights in RIGHTS.items())


def psql(address: str, database: str, sql: str) -> None:
    user, _, place = address.partition("@")
    host, _, port = place.partition(":")
    command = [str(BIN / "psql"), "-h", host, "-p", port, "-U", user, "-q", "-v", "ON_ERROR_STOP=1"]
    subprocess.run([*command, "-d", database, "-c", sql], check=True)


def site(url: SecretStr, dagster: SecretStr | None = None, *, ahead: float = 0.0) -> Site:
    settings = ControlSettings(
        database_url=url, dagster_database_url=dagster, internal_secret=SecretStr("internal-secret-of-the-tests")
    )
    return Site(Options(), control=settings, clock=lambda: time.time() + ahead)


def as_role(url: SecretStr, role: str) -> SecretStr:
    return SecretStr(url.get_secret_value().replace("lakemill@", f"{role}@"))


def run(url: SecretStr, sql: str) -> None:
    async def execute() -> None:
        db = Database(url)
        try:
            async with db.transaction() as conn:
                for statement in sql.split(";"):
                    await conn.execute(text(statement))
        finally:
            await db.close()

    asyncio.run(execute())


def test_a_migrated_database_passes_but_for_tls(
    database_url: SecretStr, empty_database_url: SecretStr, reader: str
) -> None:
    run(empty_database_url, f"{DAGSTER}; GRANT SELECT ON runs, run_tags TO {reader}")
    found = ask_group(site(database_url, as_role(empty_database_url, reader)), Group.POSTGRES)
    run(empty_database_url, f"DROP OWNED BY {reader}")
    assert {name for name, result in found.items() if result.status is not Status.PASS} == {"postgres.tls"}, found
    assert "PostgreSQL 18" in found["postgres.server"].detail


@proves("postgres.server")
def test_a_server_that_is_away_is_found() -> None:
    url = SecretStr("postgresql+asyncpg://lakemill:canary-password@127.0.0.1:9/lakemill")
    found = ask(site(url), "postgres.server")
    assert (found.status, "canary" in found.detail) == (Status.FAIL, False), found


def test_a_role_that_does_not_exist_is_told(database_url: SecretStr) -> None:
    found = ask(site(as_role(database_url, "nobody_here")), "postgres.server")
    assert (found.status, "nobody_here" in found.detail) == (Status.FAIL, True), found


@proves("postgres.migrated")
def test_missing_and_old_tables_are_found(database_url: SecretStr, empty_database_url: SecretStr) -> None:
    assert "revision none" in ask(site(empty_database_url), "postgres.migrated").detail
    run(database_url, "UPDATE alembic_version SET version_num = '0001'")
    found = ask(site(database_url), "postgres.migrated")
    assert (found.status, "revision 0001" in found.detail) == (Status.FAIL, True), found


@proves("postgres.privileges")
def test_missing_privileges_are_found(database_url: SecretStr, empty_database_url: SecretStr, reader: str) -> None:
    other = as_role(empty_database_url, reader)
    found = ask(site(other), "postgres.privileges")
    assert (found.status, "may not create" in found.detail) == (Status.FAIL, True), found
    run(database_url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
    found = ask(site(as_role(database_url, reader)), "postgres.privileges")
    assert (found.status, "lacks INSERT" in found.detail) == (Status.FAIL, True), found
    run(database_url, f"DROP OWNED BY {reader}")


def test_what_is_needed_is_enough(narrow: tuple[SecretStr, SecretStr, str]) -> None:
    found = ask(site(narrow[1]), "postgres.privileges")
    assert (found.status, "migrations need another role" in found.detail) == (Status.PASS, True), found


@pytest.mark.parametrize(("table", "right"), [(table, right) for table, rights in RIGHTS.items() for right in rights])
@proves("postgres.privileges")
def test_each_right_that_is_missing_is_named(narrow: tuple[SecretStr, SecretStr, str], table: str, right: str) -> None:
    owner, url, role = narrow
    run(owner, f"REVOKE {right} ON {table} FROM {role}")
    try:
        found = ask(site(url), "postgres.privileges")
    finally:
        run(owner, f"GRANT {right} ON {table} TO {role}")
    assert (found.status, found.detail) == (Status.FAIL, f"our role lacks {right} {table}")


def test_every_table_is_among_those_that_rights_are_asked_for() -> None:
    assert RIGHTS.keys() == {*metadata.tables, "alembic_version"}


@proves("postgres.tls")
def test_an_open_connection_is_a_warning(database_url: SecretStr) -> None:
    found = ask(site(database_url), "postgres.tls")
    assert (found.status, "not encrypted" in found.detail) == (Status.WARN, True), found


@pytest.mark.parametrize(
    ("ahead", "status", "words"),
    [(3.5, Status.WARN, "3.5 s behind"), (-3.5, Status.WARN, "3.5 s ahead of"), (9, Status.FAIL, "9.0 s behind")],
)
@proves("postgres.clock")
def test_a_clock_that_is_off_is_found(database_url: SecretStr, ahead: float, status: Status, words: str) -> None:
    found = ask(site(database_url, ahead=ahead), "postgres.clock")
    assert (found.status, words in found.detail) == (status, True), found


@proves("postgres.dagster_contract")
def test_a_storage_that_is_not_dagsters_is_found(database_url: SecretStr, empty_database_url: SecretStr) -> None:
    found = ask(site(database_url, empty_database_url), "postgres.dagster_contract")
    assert (found.status, "runs" in found.detail) == (Status.FAIL, True), found


@proves("postgres.dagster_read_only")
def test_a_reader_that_may_write_is_found(database_url: SecretStr, empty_database_url: SecretStr, reader: str) -> None:
    run(empty_database_url, DAGSTER)
    found = ask(site(database_url, empty_database_url), "postgres.dagster_read_only")
    assert (found.status, "CREATE in schema public" in found.detail) == (Status.FAIL, True), found
    run(empty_database_url, f"GRANT UPDATE ON runs TO {reader}")
    found = ask(site(database_url, as_role(empty_database_url, reader)), "postgres.dagster_read_only")
    run(empty_database_url, f"DROP OWNED BY {reader}")
    assert (found.status, found.detail) == (Status.FAIL, "the reader may UPDATE runs")


def test_without_dagsters_storage_its_checks_are_skipped(database_url: SecretStr) -> None:
    found = ask(site(database_url), "postgres.dagster_contract")
    assert (found.status, "LAKEMILL_DAGSTER_DATABASE_URL" in found.detail) == (Status.SKIP, True), found


@proves("postgres.direct_tenants")
def test_a_direct_topic_without_its_tenant_is_found(database_url: SecretStr) -> None:
    control = site(database_url).control.model_copy(update={"direct_topics": {"a": "default", "b": "absent"}})
    found = ask(Site(Options(), control=control), "postgres.direct_tenants")
    assert (found.status, "'b' is given to 'absent'" in found.detail) == (Status.FAIL, True), found
    right = control.model_copy(update={"direct_topics": {"a": "default"}})
    assert ask(Site(Options(), control=right), "postgres.direct_tenants").status is Status.PASS
