"""Each architecture with its servers up and nothing computed yet, behind the same two calls of HTTP."""

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import polars as pl
from sqlalchemy import text

from assets.snapshots.reader import open_snapshot
from bench.architectures import queue_api, synchronous
from bench.architectures.settings import DATABASE, TUNING
from bench.postgres import Postgres
from bench.stacks import BenchStack, bench_stack
from contracts.identity import Coordinate
from deploy.local.environment import inherited
from deploy.local.site import ROOT
from resources.lake.store import S3Lake

WORKERS = 2
"""Processes of the API, and of the queue's workers: one for each core of the machine class."""
_READY_SECONDS = 60.0
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One architecture. ``POST /v1/processes`` asks for work; ``path`` is where its state is read."""

    bench: BenchStack
    databases: tuple[str, ...]
    headers: Mapping[str, str]
    path: Callable[[Mapping[str, str], Mapping[str, Any]], str]
    """Request and answer → the path."""
    revenue: Callable[[str, str], Awaitable[Rows]]
    """Entity and version → month, segment, revenue, orders."""


@contextmanager
def synchronous_api() -> Iterator[Contender]:
    """The API computes in PostgreSQL and answers afterwards."""
    with _field(synchronous.SCHEMA, "synchronous") as bench:

        async def revenue(entity: str, version: str) -> Rows:
            query = "SELECT month, segment, revenue, orders FROM revenue WHERE place = :place"
            return await _fetch(bench, query, place=f"{entity}/{version}")

        yield Contender(bench, (DATABASE,), {}, _by_coordinate, revenue)


@contextmanager
def queue() -> Iterator[Contender]:
    """The API queues in PostgreSQL; workers compute and store artifacts there."""
    worker = (sys.executable, "-m", "bench.architectures.queue_worker")
    with _field(queue_api.SCHEMA, "queue_api", *[worker] * WORKERS) as bench:

        async def revenue(entity: str, version: str) -> Rows:
            query = """SELECT body FROM artifacts JOIN processes ON id = process_id
                       WHERE entity_id = :entity AND data_version = :version AND dataset = 'revenue' ORDER BY number"""
            chunks = await _fetch(bench, query, entity=entity, version=version)
            return pl.read_parquet(io.BytesIO(b"".join(chunk for (chunk,) in chunks))).rows()

        yield Contender(bench, (DATABASE,), {}, _by_id, revenue)


@contextmanager
def lakemill() -> Iterator[Contender]:
    """The whole product, as the embedded stack starts it."""
    with bench_stack() as bench:
        lake = S3Lake(bench.settings, bench.settings.lake_bucket)

        async def revenue(entity: str, version: str) -> Rows:
            table = open_snapshot(lake, Coordinate(entity, version, "revenue")).to_arrow()
            return [tuple(row.values()) for row in table.to_pylist()]

        yield Contender(bench, ("lakemill", "dagster"), {"Authorization": f"Bearer {bench.key}"}, _by_id, revenue)


CONTENDERS: dict[str, Callable[[], AbstractContextManager[Contender]]] = {
    "synchronous": synchronous_api,
    "queue": queue,
    "lakemill": lakemill,
}


def _by_coordinate(request: Mapping[str, str], _answer: Mapping[str, Any]) -> str:
    dataset = "revenue" if request["action"] == "aggregate_revenue" else request["action"].removeprefix("ingest_")
    return f"/v1/processes/{request['entity_id']}/{request['data_version']}/{dataset}"


def _by_id(_request: Mapping[str, str], answer: Mapping[str, Any]) -> str:
    return f"/v1/processes/{answer['process_id']}"


async def _fetch(bench: BenchStack, query: str, **values: str) -> Rows:
    async with Postgres(bench.stack).database(DATABASE) as db, db.reading() as conn:
        return [tuple(row) for row in await conn.execute(text(query), values)]


@contextmanager
def _field(schema: str, module: str, *more: tuple[str, ...]) -> Iterator[BenchStack]:
    """Yield PostgreSQL, tuned, and a store, with an API of ours on the port of Lakemill's, and more processes."""
    with bench_stack(only={"postgres", "s3", "migrations"}) as bench, ExitStack() as ending:
        asyncio.run(_prepare(bench, schema))
        port = str(bench.stack.ports.of("api"))
        options = ("--host", bench.stack.ports.host, "--port", port, "--workers", str(WORKERS), "--no-access-log")
        api = (sys.executable, "-m", "uvicorn", f"bench.architectures.{module}:app", *options)
        env = inherited({**bench.stack.env(), "LAKEMILL_STATE_DIR": str(bench.stack.state_dir)})
        for number, command in enumerate((api, *more)):
            with bench.stack.logs.of(f"{module}-{number}").open("wb") as log:
                process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)
            ending.callback(process.wait, 30)
            ending.callback(process.terminate)
        _wait_until_ready(bench.settings.api_url)
        yield bench


async def _prepare(bench: BenchStack, schema: str) -> None:
    server = Postgres(bench.stack)
    async with server.database("postgres") as db, db.reading() as conn:
        for name, value in TUNING.items():
            await conn.execute(text(f"ALTER SYSTEM SET {name} = '{value}'"))
        await conn.execute(text(f"CREATE DATABASE {DATABASE} OWNER lakemill"))
    bench.stack.restart("postgres")
    async with server.database(DATABASE) as db, db.transaction() as conn:
        await conn.execute(text("SET ROLE lakemill"))
        for statement in filter(str.strip, schema.split(";\n")):
            await conn.execute(text(statement))


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            httpx.get(f"{url}/openapi.json", trust_env=False).raise_for_status()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
