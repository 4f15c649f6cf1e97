"""The control plane's database, and Dagster's as the control plane reads it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cli.doctor.asking import ask, column, scalar
from cli.doctor.check import Check, Group, Result, failed, passed, warned
from cli.doctor.site import Site
from cli.doctor.storage import SKEW_FAIL_SECONDS, SKEW_WARN_SECONDS, clock_result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

OLDEST = 14
RIGHTS = {
    "admin_log": ("SELECT", "INSERT"),
    "actions": ("SELECT", "INSERT", "UPDATE"),
    "alembic_version": ("SELECT",),
    "api_keys": ("SELECT", "INSERT", "UPDATE"),
    "backfill_entities": ("SELECT", "INSERT", "DELETE"),
    "backfills": ("SELECT", "INSERT", "UPDATE"),
    "cursors": ("SELECT", "INSERT", "UPDATE"),
    "dead_letters": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "deliveries": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "entities": ("SELECT", "INSERT", "UPDATE"),
    "idempotency_keys": ("SELECT", "INSERT", "DELETE"),
    "launches": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "log_gaps": ("SELECT", "INSERT", "DELETE"),
    "outbox": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "process_events": ("SELECT", "INSERT", "DELETE"),
    "processes": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "profiles": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "recovery": ("SELECT", "INSERT", "DELETE"),
    "snapshots": ("SELECT", "INSERT", "UPDATE"),
    "subscribers": ("SELECT", "INSERT", "DELETE"),
    "tenants": ("SELECT", "INSERT", "UPDATE"),
}
"""What the statements in ``control/`` need, and no more; a test works with these rights alone, and with each of them.

The rights on ``tenants`` and ``alembic_version`` are also those of migrations that have nothing to do.
"""
_WRITING = "INSERT", "UPDATE", "DELETE", "TRUNCATE"


def _server(site: Site) -> Result:
    async def read(conn: "AsyncConnection") -> tuple[int, str, bool]:
        number, name = await scalar(conn, "SHOW server_version_num"), await scalar(conn, "SHOW server_version")
        return int(number), str(name), bool(await scalar(conn, "SELECT pg_is_in_recovery()"))

    number, name, is_standby = ask(site, site.control.database_url, read)
    return server_result(number, name, is_standby=is_standby)


def server_result(number: int, name: str, *, is_standby: bool) -> Result:
    """Judge a server by its version and its role; ``number`` is 180001 for 18.1."""
    if is_standby:
        return failed(f"PostgreSQL {name}: this is a standby, which takes no writes")
    told = f"PostgreSQL {name}"
    return passed(told) if number >= OLDEST * 10_000 else failed(f"{told} is older than {OLDEST}")


def _migrated(site: Site) -> Result:
    there, ours = ask(site, site.control.database_url, _revision), _head()
    if there == ours:
        return passed(f"the tables are at revision {ours}, as this version wants them")
    return failed(f"the tables are at revision {there or 'none'}; this version wants {ours}")


def _privileges(site: Site) -> Result:
    async def read(conn: "AsyncConnection") -> tuple[bool, list[str] | None]:
        may_create = await scalar(conn, "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")
        is_empty = await scalar(conn, "SELECT to_regclass('processes') IS NULL")
        return bool(may_create), None if is_empty else await _missing_privileges(conn)

    may_create, missing = ask(site, site.control.database_url, read)
    if missing is None:
        told = "there are no tables yet, and our role may"
        return passed(f"{told} create them") if may_create else failed(f"{told} not create in its schema")
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return failed(f"our role lacks {', '.join(missing[:5])}{more}")
    if may_create:
        return passed("our role may do to every table what it must, and may create in its schema")
    return passed("our role may do to every table what it must; it may not create, so migrations need another role")


def _tls(site: Site) -> Result:
    async def read(conn: "AsyncConnection") -> str | None:
        query = "SELECT CASE WHEN ssl THEN version END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        found: str | None = await scalar(conn, query)
        return found

    mode = parse_qs(urlsplit(site.control.database_url.get_secret_value()).query).get("ssl", ["prefer"])[-1]
    return tls_result(ask(site, site.control.database_url, read), mode)


def tls_result(version: str | None, mode: str) -> Result:
    """Judge a connection by its TLS version, None without, and by what the URL says about ``ssl``."""
    if version is None:
        return warned("the connection is not encrypted: passwords and rows can be read on the way")
    if mode != "verify-full":
        return warned(f"{version}, but with ssl={mode} nobody checks that this is the right server")
    return passed(f"{version}; the server's name is checked")


def _clock(site: Site) -> Result:
    async def read(conn: "AsyncConnection") -> float:
        await scalar(conn, "SELECT 1")  # the first statement pays for the connection
        began = site.clock()
        there = float(await scalar(conn, "SELECT extract(epoch FROM clock_timestamp())"))
        return there - (began + site.clock()) / 2

    return clock_result("PostgreSQL's", ask(site, site.control.database_url, read))


def _dagster_contract(site: Site) -> Result:
    url, ui_url = site.dagster_database_url, site.control.dagster_url
    from resources.dagster.runs import DagsterRuns

    async def check() -> None:
        runs = DagsterRuns(url, ui_url)
        try:
            await runs.check()
        finally:
            await runs.close()

    asyncio.run(check())
    return passed("Dagster's tables answer the contract query")


def _dagster_read_only(site: Site) -> Result:
    async def read(conn: "AsyncConnection") -> list[str]:
        query = """
            SELECT right_ || ' ' || relname FROM pg_class, unnest(string_to_array(:rights, ' ')) AS right_
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
              AND has_table_privilege(oid, right_)
            UNION ALL
            SELECT 'CREATE in schema ' || current_schema() WHERE has_schema_privilege(current_schema(), 'CREATE')
            ORDER BY 1
        """
        return await column(conn, query, rights=" ".join(_WRITING))

    may = ask(site, site.dagster_database_url, read)
    if may:
        more = f" and {len(may) - 3} more" if len(may) > 3 else ""
        return failed(f"the reader may {', '.join(may[:3])}{more}")
    return passed("the reader can write nothing in Dagster's storage")


async def _missing_privileges(conn: "AsyncConnection") -> list[str]:
    wanted = [f"{right} {name}" for name, rights in RIGHTS.items() for right in rights]
    query = """
        SELECT wanted FROM unnest(string_to_array(:wanted, ',')) AS wanted
        WHERE has_table_privilege(to_regclass(split_part(wanted, ' ', 2)), split_part(wanted, ' ', 1)) IS NOT TRUE
    """
    return await column(conn, query, wanted=",".join(wanted))


async def _revision(conn: "AsyncConnection") -> str | None:
    if await scalar(conn, "SELECT to_regclass('alembic_version')") is None:
        return None
    found: str | None = await scalar(conn, "SELECT version_num FROM alembic_version")
    return found


def _head() -> str | None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import control.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(control.migrations.__file__).parent))
    return ScriptDirectory.from_config(config).get_current_head()


CHECKS = (
    Check(
        "postgres.server",
        Group.POSTGRES,
        f"Does the control plane's PostgreSQL answer, is it {OLDEST} or newer, and does it take writes?",
        f"Check LAKEMILL_DATABASE_URL; name the primary, of PostgreSQL {OLDEST} or newer.",
        _server,
    ),
    Check(
        "postgres.migrated",
        Group.POSTGRES,
        "Are the tables at the revision that this version of Lakemill wants?",
        "Run `python -m control.migrate` (the chart's hook does) with the version that is deployed.",
        _migrated,
    ),
    Check(
        "postgres.privileges",
        Group.POSTGRES,
        "May our role do to each table what it must, or create the tables when there are none?",
        "Grant our role what it lacks, or make it the owner of its database.",
        _privileges,
    ),
    Check(
        "postgres.tls",
        Group.POSTGRES,
        "Is the connection encrypted, and the server's name checked?",
        "Add `?ssl=verify-full` to LAKEMILL_DATABASE_URL and give the authority's certificate by PGSSLROOTCERT.",
        _tls,
    ),
    Check(
        "postgres.clock",
        Group.POSTGRES,
        f"How far are PostgreSQL's and this host's clocks apart (warn above {SKEW_WARN_SECONDS:g} s, fail above "
        f"{SKEW_FAIL_SECONDS:g} s)?",
        "Keep both hosts in step with NTP: permits, deadlines and leases are compared across them.",
        _clock,
    ),
    Check(
        "postgres.dagster_contract",
        Group.POSTGRES,
        "Does Dagster's storage answer the contract query, by the role of LAKEMILL_DAGSTER_DATABASE_URL?",
        "Grant that role SELECT on `runs` and `run_tags`; after an upgrade of Dagster use the version that Lakemill "
        "pins.",
        _dagster_contract,
    ),
    Check(
        "postgres.dagster_read_only",
        Group.POSTGRES,
        "Is that role unable to write or create anything there? (Its grants are read; nothing is written.)",
        "Use a role of its own with SELECT on `runs` and `run_tags` and nothing else.",
        _dagster_read_only,
    ),
)
