"""The synchronous API: a request computes in PostgreSQL and answers when the rows are there.

Each delivery becomes a partition of its table, copied in without an index and attached when it is whole; keys are
checked by the index that is made then. Everything that a request does is one transaction.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import polars as pl
import pyarrow.parquet as pq
from fastapi import HTTPException

from bench.architectures.serving import Request, pooled_app
from bench.architectures.settings import delivery
from contracts.identity import Coordinate

SCHEMA = """
CREATE TABLE datasets (
    entity_id text, data_version text, dataset text, state text NOT NULL, rows bigint,
    PRIMARY KEY (entity_id, data_version, dataset));
CREATE TABLE orders (
    place text NOT NULL, o_orderkey bigint NOT NULL, o_custkey bigint NOT NULL, o_orderstatus text,
    o_totalprice numeric(15,2), o_orderdate date NOT NULL, o_orderpriority text, o_clerk text, o_shippriority int,
    o_comment text) PARTITION BY LIST (place);
CREATE TABLE customer (
    place text NOT NULL, c_custkey bigint NOT NULL, c_name text, c_address text, c_nationkey bigint, c_phone text,
    c_acctbal numeric(15,2), c_mktsegment text NOT NULL, c_comment text) PARTITION BY LIST (place);
CREATE TABLE lineitem (
    place text NOT NULL, l_orderkey bigint NOT NULL, l_partkey bigint, l_suppkey bigint, l_linenumber int NOT NULL,
    l_quantity numeric(15,2), l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
    l_tax numeric(15,2), l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date,
    l_shipinstruct text, l_shipmode text, l_comment text) PARTITION BY LIST (place);
CREATE TABLE revenue (
    place text, month date, segment text, revenue numeric(18,2) NOT NULL, orders bigint NOT NULL,
    PRIMARY KEY (place, month, segment));
"""
KEYS = {"orders": "o_orderkey", "customer": "c_custkey"}

# Summed by order first: each order is joined once and counted without DISTINCT. It is a query of its own, and not that
# of an INSERT, because PostgreSQL lets no other core take part in a statement that writes.
REVENUE = """
SELECT date_trunc('month', o_orderdate)::date, c_mktsegment, sum(net)::numeric(18,2), count(*)
FROM (SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS net FROM lineitem WHERE place = $1
      GROUP BY l_orderkey) AS items
JOIN orders ON o_orderkey = l_orderkey AND orders.place = $1
JOIN customer ON c_custkey = o_custkey AND customer.place = $1
GROUP BY 1, 2
"""
_BATCH_ROWS, _NULL = 50_000, r"\N"
_TAKE = "INSERT INTO datasets VALUES ($1, $2, $3, 'running') ON CONFLICT DO NOTHING RETURNING 1"
_DONE = "UPDATE datasets SET state = 'succeeded', rows = $4 WHERE (entity_id, data_version, dataset) = ($1, $2, $3)"
_GIVE_BACK = "DELETE FROM datasets WHERE (entity_id, data_version, dataset) = ($1, $2, $3)"
_LOOK = "SELECT state, rows FROM datasets WHERE (entity_id, data_version, dataset) = ($1, $2, $3)"

app = pooled_app()


@app.post("/v1/processes", status_code=201)
async def compute(request: Request) -> dict[str, Any]:
    """Compute, and answer how many rows there are. 409: it is there, or another request computes it."""
    dataset = request.dataset
    place = Coordinate(request.entity_id, request.data_version, dataset)
    async with app.state.pool.acquire() as conn:
        await _take(conn, place)
        try:
            async with conn.transaction():
                rows = await (_aggregate(conn, place) if dataset == "revenue" else _ingest(conn, place))
                await conn.execute(_DONE, *_names(place), rows)
        except BaseException:
            await conn.execute(_GIVE_BACK, *_names(place))
            raise
    return {"rows": rows}


@app.get("/v1/processes/{entity_id}/{data_version}/{dataset}")
async def look(entity_id: str, data_version: str, dataset: str) -> dict[str, Any]:
    """Answer how a dataset stands."""
    row = await app.state.pool.fetchrow(_LOOK, entity_id, data_version, dataset)
    if row is None:
        raise HTTPException(404)
    return dict(row)


async def _take(conn: asyncpg.Connection, place: Coordinate) -> None:
    if await conn.fetchval(_TAKE, *_names(place)) is None:
        raise HTTPException(409, f"{place} is there, or being computed")


async def _aggregate(conn: asyncpg.Connection, place: Coordinate) -> int:
    key = _key(place)
    rows = await conn.fetch(REVENUE, key)
    await conn.copy_records_to_table("revenue", records=[(key, *row) for row in rows])
    return len(rows)


async def _ingest(conn: asyncpg.Connection, place: Coordinate) -> int:
    table, key = place.dataset, _key(place)
    part = f"{table}/{key}"
    file = pq.ParquetFile(io.BytesIO(await asyncio.to_thread(delivery, place)))
    await conn.execute(f'CREATE TABLE "{part}" (LIKE {table})')
    # Proves to ATTACH, without a scan, that each row belongs there.
    await conn.execute(f"ALTER TABLE \"{part}\" ALTER place SET DEFAULT '{key}', ADD CHECK (place = '{key}')")
    await conn.copy_to_table(part, source=_csv(file), format="csv", null=_NULL, columns=file.schema_arrow.names)
    if unique := KEYS.get(table):
        await conn.execute(f'ALTER TABLE "{part}" ADD PRIMARY KEY ({unique})')
    await conn.execute(f'ANALYZE "{part}"')
    await conn.execute(f"ALTER TABLE {table} ATTACH PARTITION \"{part}\" FOR VALUES IN ('{key}')")
    return int(file.metadata.num_rows)


async def _csv(file: pq.ParquetFile) -> AsyncIterator[bytes]:
    """Yield the rows as CSV, a batch at a time; none is in memory longer than it has to be."""
    batches = file.iter_batches(_BATCH_ROWS)
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        frame = pl.DataFrame(batch)
        yield (await asyncio.to_thread(frame.write_csv, include_header=False, null_value=_NULL)).encode()


def _names(place: Coordinate) -> tuple[str, str, str]:
    return place.entity_id, place.data_version, place.dataset


def _key(place: Coordinate) -> str:
    # Both are safe ids: letters, digits and ._- only.
    return f"{place.entity_id}/{place.data_version}"
