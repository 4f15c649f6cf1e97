"""A user's shell: the commands, run in this process against a real API."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from typer.testing import CliRunner, Result

from cli.main import app
from contracts.tenancy import DEFAULT_TENANT, Tenant, TenantLimits
from control.accepting.inputs import InputCheck
from control.backfills.expansion import Expander
from control.outcomes import settle_by_commit
from control.reconciling.reconciler import Reconciler
from control.tenancy import tenants
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.memory_lake import MemoryLake, place

SUBMIT = ("submit", "cust_8842", "v1", "ingest")


class Shell:
    """It has the API and a key in its environment; what else happens in the world is done by the other methods."""

    def __init__(self, settings: ControlSettings, lake: MemoryLake, url: str, key: str) -> None:
        self.settings, self.lake = settings, lake
        self.env = {"LAKEMILL_API_URL": url, "LAKEMILL_API_KEY": key, "COLUMNS": "200"}

    def run(self, *arguments: str, code: int = 0, stdin: str | None = None, **env: str) -> Result:
        result = CliRunner().invoke(app, arguments, input=stdin, env={**self.env, **env})
        assert result.exit_code == code, result.output
        return result

    def ask(self, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code, stdin=stdin).stdout)

    def commit(self, process_id: str) -> None:
        """Let a process succeed."""
        self.lake.commit(place(), UUID(process_id))
        self._on_database(lambda db: settle_by_commit(db, self.lake, UUID(process_id)))

    def limit(self, **limits: Any) -> None:
        """Give the tenant these limits."""

        async def change(db: Database) -> None:
            async with db.transaction() as conn:
                await tenants.change(conn, Tenant(id=DEFAULT_TENANT, limits=TenantLimits(**limits)), "test")

        self._on_database(change)

    def expand(self) -> None:
        """Let a worker do what is to be done about backfills."""

        async def work(db: Database) -> None:
            expander = Expander(db, self.lake, InputCheck(db, self.lake), self.settings)
            while await expander.step():
                pass
            await Reconciler(db, self.lake, None, self.settings).reconcile()
            await expander.step()

        self._on_database(work)

    def _on_database(self, work: Callable[[Database], Awaitable[object]]) -> None:
        async def do() -> None:
            db = Database(self.settings.database_url)
            await work(db)
            await db.close()

        asyncio.run(do())
