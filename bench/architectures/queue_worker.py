"""``python -m bench.architectures.queue_worker``: one worker of the queue. It computes with Polars, in memory."""

import asyncio
import io
from collections.abc import Mapping

import asyncpg
import polars as pl

from bench.architectures.queue_api import CHANNEL
from bench.architectures.settings import connect, delivery
from contracts.identity import Coordinate

CHUNK_BYTES = 16 * 1024 * 1024
_FALLBACK_SECONDS = 5.0
"""How soon waiting work is found when the notification was lost."""
_TAKE = """
UPDATE processes SET state = 'running' WHERE id = (
    SELECT id FROM processes WHERE state = 'accepted' ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, entity_id, data_version, action, dataset
"""
_CHUNKS = """
SELECT body FROM artifacts JOIN processes ON id = process_id
WHERE entity_id = $1 AND data_version = $2 AND dataset = $3 AND state = 'succeeded' ORDER BY number
"""
NOT_NULL = {
    "orders": ["o_orderkey", "o_custkey", "o_orderdate"],
    "customer": ["c_custkey", "c_mktsegment"],
    "lineitem": ["l_orderkey", "l_linenumber", "l_extendedprice", "l_discount"],
}
UNIQUE = {"orders": "o_orderkey", "customer": "c_custkey"}


class CheckError(Exception):
    """What was delivered is not what was promised."""


def ingest(table: str, body: bytes) -> pl.DataFrame:
    """Return the rows of a delivery. Raises CheckError."""
    frame = pl.read_parquet(io.BytesIO(body))
    counted = frame.select(pl.col(NOT_NULL[table]).null_count()).row(0)
    if not frame.height or any(counted):
        raise CheckError(f"{table}: {frame.height} rows, nulls {counted}")
    if (key := UNIQUE.get(table)) and frame[key].n_unique() != frame.height:
        raise CheckError(f"{table}: {key} is not unique")
    return frame


def aggregate(artifacts: Mapping[str, bytes]) -> pl.DataFrame:
    """Return net revenue and orders, by month and segment, in whole hundredths of cents until the end."""
    lines, orders, customers = (
        pl.scan_parquet(io.BytesIO(artifacts[name])) for name in ("lineitem", "orders", "customer")
    )
    price, discount = (_hundredths(name) for name in ("l_extendedprice", "l_discount"))
    items = lines.group_by("l_orderkey").agg((price * (100 - discount)).sum().alias("net"))
    joined = items.join(orders, left_on="l_orderkey", right_on="o_orderkey").join(
        customers, left_on="o_custkey", right_on="c_custkey"
    )
    by = [pl.col("o_orderdate").dt.truncate("1mo").alias("month"), pl.col("c_mktsegment").alias("segment")]
    summed = joined.group_by(by).agg(pl.col("net").sum(), pl.len().cast(pl.Int64).alias("orders"))
    revenue = (((pl.col("net") + 50) // 100).cast(pl.Decimal(38, 2)) / 100).cast(pl.Decimal(18, 2))
    return summed.select("month", "segment", revenue.alias("revenue"), "orders").sort("month", "segment").collect()


def _hundredths(name: str) -> pl.Expr:
    return (pl.col(name) * 100).cast(pl.Int64)


async def main() -> None:
    """Take work until killed; what a killed worker had taken would need a lease, which this bench does not try."""
    pool, woken = await connect(), asyncio.Event()
    async with pool.acquire() as listening:
        await listening.add_listener(CHANNEL, lambda *_: woken.set())
        while True:
            woken.clear()
            while taken := await pool.fetchrow(_TAKE):
                await _work(pool, taken)
            try:
                await asyncio.wait_for(woken.wait(), _FALLBACK_SECONDS)
            except TimeoutError:
                continue


async def _work(pool: asyncpg.Pool, taken: asyncpg.Record) -> None:
    place = Coordinate(taken["entity_id"], taken["data_version"], taken["dataset"])
    try:
        if taken["action"] == "aggregate_revenue":
            artifacts = {name: await _artifact(pool, place, name) for name in NOT_NULL}
            frame = await asyncio.to_thread(aggregate, artifacts)
        else:
            frame = await asyncio.to_thread(ingest, place.dataset, await asyncio.to_thread(delivery, place))
    except (CheckError, LookupError, pl.exceptions.PolarsError) as error:
        await pool.execute("UPDATE processes SET state = 'failed', reason = $2 WHERE id = $1", taken["id"], str(error))
        return
    file = io.BytesIO()
    await asyncio.to_thread(frame.write_parquet, file, compression="zstd", compression_level=1)
    body = file.getbuffer()
    async with pool.acquire() as conn, conn.transaction():
        chunks = (bytes(body[at : at + CHUNK_BYTES]) for at in range(0, len(body), CHUNK_BYTES))
        for number, chunk in enumerate(chunks):
            await conn.execute("INSERT INTO artifacts VALUES ($1, $2, $3)", taken["id"], number, chunk)
        done = "UPDATE processes SET state = 'succeeded', rows = $2 WHERE id = $1"
        await conn.execute(done, taken["id"], frame.height)


async def _artifact(pool: asyncpg.Pool, place: Coordinate, dataset: str) -> bytes:
    chunks = await pool.fetch(_CHUNKS, place.entity_id, place.data_version, dataset)
    if not chunks:
        raise LookupError(f"{place.entity_id}/{place.data_version}/{dataset} is not there")
    return b"".join(row["body"] for row in chunks)


if __name__ == "__main__":
    asyncio.run(main())
