"""Work on the control plane's database from a command: its settings, its transactions, and in whose name."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from cli import exits
from cli.settings import read_settings
from contracts.problems import LakemillError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from resources.database import Database
    from resources.settings import ControlSettings

_Result = TypeVar("_Result")


def administrator() -> str:
    """Return who is at the command line, for the log."""
    return f"cli:{getpass.getuser()}"


def in_database(work: "Callable[[AsyncConnection], Awaitable[_Result]]") -> _Result:
    """Return what ``work`` returns, in one transaction; what goes wrong becomes a message and an exit code."""

    async def transaction(db: "Database", _: "ControlSettings") -> _Result:
        async with db.transaction() as conn:
            return await work(conn)

    return on_database(transaction)


def on_database(
    work: "Callable[[Database, ControlSettings], Awaitable[_Result]]",
    *gave_out: type[LakemillError],
    **limits: int,
) -> _Result:
    """Return what ``work`` returns, in transactions of its own; what goes wrong becomes a message and an exit code.

    ``gave_out`` is what else than the database may be away, ``limits`` are the database's.
    """
    from resources.database import Database, DatabaseUnavailableError
    from resources.settings import control_settings

    settings = read_settings(control_settings)

    async def connected() -> _Result:
        db = Database(settings.database_url, **limits)
        try:
            return await work(db, settings)
        finally:
            await db.close()

    with exits.told(DatabaseUnavailableError, *gave_out):
        return asyncio.run(connected())
