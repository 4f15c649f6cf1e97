"""The same task for each architecture, and what it took: all entities at once, and somebody who looks meanwhile."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import text

from bench.architectures.contenders import Contender, Rows
from bench.architectures.looking import Looker
from bench.postgres import Postgres
from bench.usage import Meter
from cli.demo.landing import TPCH_TABLES, land_tpch
from contracts.identity import Coordinate
from contracts.storage import landing_prefix
from resources.lake.store import S3Lake

VERSION = "v1"
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 3600.0
_ENDS = {"failed", "cancelled", "expired"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the task took. Latencies in milliseconds."""

    records: int
    seconds: float
    submits: list[float]
    looks: list[float]
    looks_early: int
    looks_failed: int
    database_cpu_seconds: float
    database_bytes: int
    log_bytes: int
    """Written to PostgreSQL's write-ahead log."""
    object_bytes: int
    revenue: dict[str, Rows]


class WorkFailedError(Exception):
    """An architecture did not do what it was asked for."""


@dataclass
class _Client:
    """Asks, waits for the end, and keeps the latencies."""

    contender: Contender
    http: httpx.AsyncClient
    looker: Looker
    submits: list[float] = field(default_factory=list)

    async def compute(self, entity: str, action: str) -> None:
        request = {"entity_id": entity, "data_version": VERSION, "action": action}
        with suppress(KeyError):  # where the path depends on the answer
            self.looker.shown = self.looker.shown or self.contender.path(request, {})
        began = time.monotonic()
        answer = await self.http.post("/v1/processes", json=request)
        self.submits.append((time.monotonic() - began) * 1000)
        if answer.is_error:
            raise WorkFailedError(f"{request}: {answer.status_code} {answer.text}")
        self.looker.shown = path = self.contender.path(request, answer.json())
        while answer.status_code == 202:
            state = (await self.http.get(path)).raise_for_status().json()
            if state["state"] == "succeeded":
                return
            if state["state"] in _ENDS:
                raise WorkFailedError(f"{request}: {state}")
            await asyncio.sleep(_POLL_SECONDS)

    async def entity(self, name: str) -> None:
        await asyncio.gather(*(self.compute(name, f"ingest_{table}") for table in TPCH_TABLES))
        await self.compute(name, "aggregate_revenue")


def deliver(contender: Contender, scale: float, entities: list[str]) -> int:
    """Deliver TPC-H at ``scale`` to each entity; return the rows of all of them."""
    settings = contender.bench.settings
    landing, rows = S3Lake(settings, settings.landing_bucket), 0
    for landed in land_tpch(landing, scale=scale):
        table = landed.coordinate.dataset
        body = landing.get(f"{landing_prefix(landed.coordinate)}{table}.parquet") or b""
        for entity in entities:
            landing.put(f"{landing_prefix(Coordinate(entity, VERSION, table))}{table}.parquet", body)
        rows += landed.rows * len(entities)
    return rows


async def measure(contender: Contender, entities: list[str], records: int) -> Outcome:
    """Let everything be computed at once. Raises WorkFailedError, also when nobody could look meanwhile."""
    bench = contender.bench
    before, written = await _database(contender)
    async with httpx.AsyncClient(
        base_url=bench.settings.api_url,
        headers=contender.headers,
        timeout=_PATIENCE_SECONDS,
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    ) as http:
        looker, meter = Looker(http), Meter(bench.stack)
        client = _Client(contender, http, looker)
        over, began = asyncio.Event(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(looker.look_on_schedule(over))
            await asyncio.gather(*(client.entity(name) for name in entities))
            seconds, used = time.monotonic() - began, meter.read()
            over.set()
    if not looker.latencies:
        raise WorkFailedError(f"no look was answered with 200: {looker.early} came too early, {looker.failed} failed")
    after, written_after = await _database(contender)
    return Outcome(
        records=records,
        seconds=seconds,
        submits=client.submits,
        looks=looker.latencies,
        looks_early=looker.early,
        looks_failed=looker.failed,
        database_cpu_seconds=used.of["postgres"],
        database_bytes=after - before,
        log_bytes=written_after - written,
        object_bytes=sum(_object_bytes(contender)),
        revenue={name: sorted(await contender.revenue(name, VERSION)) for name in entities},
    )


async def _database(contender: Contender) -> tuple[int, int]:
    """Return the bytes of the databases, and of all write-ahead log up to now."""
    async with Postgres(contender.bench.stack).database("postgres") as db, db.reading() as conn:
        sizes = [await conn.scalar(text(f"SELECT pg_database_size('{name}')")) for name in contender.databases]
        return sum(map(int, sizes)), int(await conn.scalar(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")))


def _object_bytes(contender: Contender) -> Iterator[int]:
    settings: Any = contender.bench.settings
    for bucket in (settings.lake_bucket, "logs"):
        yield from (found.size for found in S3Lake(settings, bucket).list(""))
