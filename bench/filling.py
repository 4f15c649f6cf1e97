"""A control plane's database that has been in use for long: any number of ended processes, and what belongs to them."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tenancy import DEFAULT_TENANT
from resources.database import Database

CROWD, SMALL = "crowd", "small"
"""One in ten processes is a second tenant's; a third one has nothing of its own, and reads what is shared."""
RARE_ACTION, RARE_VERSION, RARE_ENTITY = "rare_action", "v0", "site-1"
BACKFILLS, UNFINISHED = 20, 4
"""Half of the processes are a backfill's; of some nobody has counted yet how its processes ended."""
HEAVY = 5
"""One in so many processes has parameters of 32 KiB."""

# Five seconds apart, so that a million of them are 58 days: nothing is old enough to be removed.
_ID = "(lpad(to_hex(1700000000000 + {n}), 12, '0') || '70008000' || lpad(to_hex({n}), 12, '0'))::uuid"
_BACKFILL_ID = _ID.format(n="(n * :backfills / (:count + 1))")
# ruff: noqa: S608 - constants of this module
_STEPS = (
    f"""
    INSERT INTO tenants (id, webhook_secret) VALUES ('{CROWD}', 'whsec_none'), ('{SMALL}', 'whsec_none')
    ON CONFLICT DO NOTHING
    """,
    f"""
    INSERT INTO entities (entity_id, tenant_id, shared_with)
    SELECT 'site-' || n, CASE WHEN n % 10 = 0 THEN '{CROWD}' ELSE '{DEFAULT_TENANT}' END,
           CASE WHEN n % 1000 = 0 THEN '["{SMALL}"]' WHEN n % 1000 = 500 THEN '["*"]' ELSE '[]' END::jsonb
    FROM generate_series(0, least(:count, 50000) - 1) n ON CONFLICT DO NOTHING
    """,
    f"""
    INSERT INTO backfills (id, tenant_id, request, request_hash, state, entities, looked_at, created_at)
    SELECT {_ID.format(n="n")}, '{DEFAULT_TENANT}', '{{"action": "action_0", "data_version": "v1"}}', repeat('0', 64),
           CASE WHEN n < {UNFINISHED} THEN 'paused' ELSE 'expanded' END, 25000, 25000, now() - n * interval '1 day'
    FROM generate_series(0, :backfills - 1) n
    """,
    f"""
    INSERT INTO processes (id, tenant_id, entity_id, data_version, dataset, action, action_digest, request,
                           request_hash, profile, priority, state, released_at, launch_id, run_id, reason, artifact,
                           backfill_id, created_at, updated_at, deadline_at, finished_at)
    SELECT {_ID.format(n="n")}, CASE WHEN n % 10 = 0 THEN '{CROWD}' ELSE '{DEFAULT_TENANT}' END,
           'site-' || n % least(:count, 50000), 'v' || n / 2000, 'dataset_' || n % 5,
           CASE WHEN n % 100000 = 7 THEN '{RARE_ACTION}' ELSE 'action_' || n % 5 END, repeat('a', 64),
           json_build_object('entity_id', 'site-' || n, 'data_version', 'v1', 'action', 'action_0', 'params',
                             json_build_object('note', repeat('x', CASE WHEN n % {HEAVY} = 1 THEN 32768 ELSE 0 END))),
           md5(n::text) || md5(n::text),
           '{{"requested": null, "granted": {{"driver_cores": 1}}, "reason": "filled"}}'::jsonb, 0,
           CASE WHEN n < 10 THEN 'expired' WHEN n % 50 = 1 THEN 'failed' WHEN n % 50 = 2 THEN 'cancelled'
                ELSE 'succeeded' END,
           at, {_ID.format(n="n")}, md5(n::text),
           CASE WHEN n % 50 = 1 THEN '{{"code": "action_raised", "message": "it broke"}}'::jsonb END,
           CASE WHEN n % 50 > 2 THEN '{{"path": "s3://lake/x", "rows": 1}}'::jsonb END,
           CASE WHEN n % 2 = 0 THEN {_BACKFILL_ID} END, at, at, at + interval '7 days', at
    FROM generate_series(0, :count - 1) n, LATERAL (SELECT now() - (:count - n) * interval '5 seconds' AS at) times
    """,
    """
    INSERT INTO launches (process_id, attempt, launch_id, lane, topic_id, log_partition, log_offset)
    SELECT id, 1, launch_id, 'heavy', 'topic', 0, 0 FROM processes
    """,
    """
    INSERT INTO process_events (process_id, attempt, at, kind, to_state, actor)
    SELECT id, 1, created_at, state, state, 'bench' FROM processes
    """,
    """
    INSERT INTO snapshots (entity_id, data_version, dataset, tenant_id, process_id, token, artifact, committed_at)
    SELECT entity_id, data_version, dataset, tenant_id, id, 'token',
           jsonb_build_object('path', 's3://lake/x', 'rows', 1, 'bytes', 1, 'files', 1,
                              'commit_digest', repeat('0', 64), 'committed_at', finished_at), finished_at
    FROM processes WHERE state = 'succeeded' ON CONFLICT DO NOTHING
    """,
)

_BACKLOG = f"""
    INSERT INTO processes (id, tenant_id, entity_id, data_version, dataset, action, action_digest, request,
                           request_hash, profile, priority, state, deadline_at)
    SELECT gen_random_uuid(), '{DEFAULT_TENANT}', 'waiting-' || n, 'v1', 'dataset_0', 'action_0', repeat('a', 64),
           '{{}}', repeat('0', 64), '{{}}', 0, 'accepted', now() + interval '7 days'
    FROM generate_series(0, :count - 1) n
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """What there is to ask for."""

    newest_backfill: UUID


async def fill(db: Database, count: int) -> Filled:
    """Add ``count`` ended processes to an empty database. ``db`` is its superuser's."""
    for step in _STEPS:
        async with db.transaction() as conn:
            # The rows fit together by construction; a million checks of foreign keys would only take time.
            await conn.execute(text("SET LOCAL session_replication_role = replica"))
            await conn.execute(text("SET LOCAL synchronous_commit = off"))
            named = {
                name: value for name, value in {"count": count, "backfills": BACKFILLS}.items() if f":{name}" in step
            }
            await conn.execute(text(step), named)
    async with db.reading() as conn:
        await conn.execute(text("VACUUM ANALYZE"))
        return Filled(await _newest_backfill(conn))


async def add_backlog(db: Database, count: int) -> None:
    """Add ``count`` processes that wait for their release."""
    async with db.transaction() as conn:
        await conn.execute(text(_BACKLOG), {"count": count})
    async with db.reading() as conn:
        await conn.execute(text("VACUUM ANALYZE processes"))


async def _newest_backfill(conn: AsyncConnection) -> UUID:
    newest = await conn.scalar(text("SELECT id FROM backfills ORDER BY created_at DESC LIMIT 1"))
    return UUID(str(newest))
