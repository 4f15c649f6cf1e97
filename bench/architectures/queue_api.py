"""The queue in PostgreSQL: a request becomes a row, workers take rows and store what they compute as artifacts there.

Artifacts are Parquet, in chunks: a value of PostgreSQL has at most 1 GB, and is sent and kept in memory as a whole.
"""

from typing import Any
from uuid import UUID

import asyncpg
from fastapi import HTTPException

from bench.architectures.serving import Request, pooled_app

SCHEMA = """
CREATE TABLE processes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), entity_id text NOT NULL, data_version text NOT NULL,
    action text NOT NULL, dataset text NOT NULL, state text NOT NULL DEFAULT 'accepted', reason text, rows bigint,
    created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (entity_id, data_version, dataset));
CREATE INDEX waiting ON processes (created_at) WHERE state = 'accepted';
CREATE TABLE artifacts (
    process_id uuid REFERENCES processes, number int, body bytea NOT NULL, PRIMARY KEY (process_id, number));
ALTER TABLE artifacts ALTER body SET STORAGE EXTERNAL;  -- Parquet is compressed already
"""
CHANNEL = "work"

app = pooled_app()


@app.post("/v1/processes", status_code=202)
async def submit(request: Request) -> dict[str, Any]:
    """Accept and wake a worker. 409: it was asked for before."""
    dataset = request.dataset
    made = "INSERT INTO processes (entity_id, data_version, action, dataset) VALUES ($1, $2, $3, $4) RETURNING id"
    async with app.state.pool.acquire() as conn, conn.transaction():
        try:
            made_id = await conn.fetchval(made, request.entity_id, request.data_version, request.action, dataset)
        except asyncpg.UniqueViolationError as error:
            raise HTTPException(409) from error
        await conn.execute(f"NOTIFY {CHANNEL}")
    return {"process_id": str(made_id), "state": "accepted"}


@app.get("/v1/processes/{process_id}")
async def look(process_id: UUID) -> dict[str, Any]:
    """Answer how a process stands."""
    row = await app.state.pool.fetchrow("SELECT state, reason, rows FROM processes WHERE id = $1", process_id)
    if row is None:
        raise HTTPException(404)
    return dict(row)
