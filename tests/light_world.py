"""The embedded stack with runs that need no Spark (bench/kills/location.py), as the tests of failures see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr

from bench.kills.killer import kill
from bench.kills.producer import FILE, VERSION, rows
from bench.kills.stack import light_stack
from cli.client import ApiClient
from cli.demo.receiver import CallbackReceiver
from contracts.identity import Coordinate
from contracts.storage import landing_prefix
from resources.lake.store import S3Lake
from tests.e2e.world import World, wait_for

RECONCILE_SECONDS = 5.0
"""30 in production: a bound that waits for the reconciler is met 25 s earlier here."""
BOUNDS = {
    "LAKEMILL_PERMIT_SECONDS": "15",
    "LAKEMILL_CLOCK_SKEW_SECONDS": "1",
    "LAKEMILL_RECONCILE_INTERVAL": str(RECONCILE_SECONDS),
    "LAKEMILL_POLL_SECONDS": "5",
}


class LightWorld(World):
    """A World whose processes are of the action ``keep_rows``."""

    def land(self) -> Coordinate:
        """Deliver rows for an entity that no other test uses; return the coordinate of what is kept of them."""
        entity_id = f"light-{uuid4().hex[:12]}"
        delivered = Coordinate(entity_id, VERSION, "rows")
        S3Lake(self.settings, self.settings.landing_bucket).put(f"{landing_prefix(delivered)}{FILE}", rows())
        return Coordinate(entity_id, VERSION, "kept")

    def submit(self, target: Coordinate, action: str = "keep_rows", **fields: Any) -> str:
        """See World."""
        return super().submit(target, action, **fields)

    def kill(self, server: str) -> None:
        """End a server, and what it forked, with SIGKILL."""
        kill(self.stack, server)

    def event(self, process_id: str, kind: str, seconds: float) -> None:
        """Return when the process has an event of this kind."""
        wait_for(f"{kind} of {process_id}", lambda: kind in self.events(process_id), seconds)

    def under_way(self) -> list[dict[str, Any]]:
        """Return the processes that have not ended."""
        return self.rows("SELECT id FROM processes WHERE finished_at IS NULL", {})

    def in_dagster(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Let Dagster's own role run a statement in its database."""
        url = self.stack.dagster_env()["DAGSTER_POSTGRES_URL"].replace("postgresql:", "postgresql+asyncpg:")
        settings = self.settings.model_copy(update={"database_url": SecretStr(url)})
        return replace(self, settings=settings).rows(statement, values)

    def ask_dagster(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask Dagster's webserver, as an operator's click does."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.settings.dagster_url}/graphql", json=body, timeout=30, trust_env=False)
        data: dict[str, Any] = answer.raise_for_status().json()["data"]
        return data

    def is_ready(self) -> bool:
        """Whether the API says that it can serve."""
        try:
            return httpx.get(f"{self.settings.api_url}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def light_world(folder: Path) -> Iterator[LightWorld]:
    """Start the stack in ``folder``, with crash points that can be armed; stop it at the end."""
    faults = folder / "faults"
    faults.mkdir()
    with (
        light_stack(folder=folder, env={**BOUNDS, "LAKEMILL_FAULTS_DIR": str(faults)}) as bench,
        CallbackReceiver(bench.webhook_secret) as receiver,
        ApiClient(bench.settings.api_url, bench.key) as client,
    ):
        yield LightWorld(bench.stack, bench.settings, client, receiver, faults)
