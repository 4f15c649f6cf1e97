"""What a producer, the sensor and the relay do in a test of direct topics, and what it then finds."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Select, Table, select

from contracts.tenancy import Tenant, TenantLimits
from control.log.tables import dead_letters
from control.releasing.release import release_once
from control.tenancy import tenants
from resources.database import Database
from resources.kafka.client import KafkaRelay
from resources.settings import ControlSettings
from sensors.process_requests import ProcessRequests, Tick
from tests.integration.control_plane import CATALOGUE
from tests.integration.memory_lake import MemoryLake

INPUTS = {"customer": "customer", "lineitem": "lineitem", "orders": "orders"}


@dataclass
class World:
    """A broker with the relay's topic and two direct ones, an API, and the sensor between them."""

    settings: ControlSettings
    sensor: ProcessRequests
    lake: MemoryLake
    producer: Any
    api_url: str
    stored: str | None = None
    """The cursor that Dagster would hold."""
    launches: list[str] = field(default_factory=list)

    def topic(self, tenant: str) -> str:
        return next(topic for topic, owner in self.settings.direct_topics.items() if owner == tenant)

    def send(self, value: bytes | None, tenant: str = "acme", key: str | None = None, **more: Any) -> None:
        """Write one record as any producer could."""
        headers = [("idempotency-key", key.encode())] if key is not None else []
        self.producer.send(self.topic(tenant), key=b"k", value=value, headers=headers, **more).get(10)

    def tick(self) -> Tick:
        """Let the sensor tick, and keep its cursor as Dagster does."""
        tick = self.sensor.tick(self.stored)
        self.stored = tick.cursor.encode()
        self.launches += [str(run.run_key) for run in tick.runs]
        return tick

    def ticks_until(self, found: Mapping[str, int]) -> None:
        """Tick until so many records of each verdict were answered."""
        left = dict(found)
        for _ in range(20):
            for count, verdict in re.findall(r"(\d+) (\w+)", self.tick().summary):
                left[verdict] = left.get(verdict, 0) - int(count)
            if all(count <= 0 for count in left.values()):
                break
        assert set(left.values()) == {0}, left

    def release(self) -> int:
        async def once() -> int:
            db, relay = Database(self.settings.database_url, pool_size=4), KafkaRelay(self.settings)
            try:
                return await release_once(db, relay, self.settings)
            finally:
                await relay.close()
                await db.close()

        return asyncio.run(once())

    def rows(self, what: Table | Select[Any]) -> list[Any]:
        async def read() -> list[Any]:
            db = Database(self.settings.database_url, pool_size=2)
            async with db.transaction() as conn:
                found = (await conn.execute(select(what) if isinstance(what, Table) else what)).mappings().all()
            await db.close()
            return list(found)

        return asyncio.run(read())

    def letters(self) -> list[str]:
        return [row["code"] for row in self.rows(select(dead_letters).order_by(dead_letters.c.log_offset))]


def revenue() -> dict[str, Any]:
    ingest: dict[str, Any] = CATALOGUE["actions"][0]
    return {**ingest, "name": "aggregate_revenue", "dataset": "revenue", "inputs": INPUTS}


async def make_tenants(url: SecretStr) -> None:
    db = Database(url, pool_size=2)
    async with db.transaction() as conn:
        await tenants.create(conn, Tenant(id="acme"), "test")
        await tenants.create(conn, Tenant(id="bolt", limits=TenantLimits(backlog=1)), "test")
    await db.close()


def ask(entity: str = "e-1", version: str = "v1", **changes: Any) -> bytes:
    return json.dumps({"entity_id": entity, "data_version": version, "action": "ingest", **changes}).encode()
