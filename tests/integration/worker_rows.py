"""Rows that the worker's tests begin with, and what they ask afterwards."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import RowMapping, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from contracts.messages import ProcessRequest, Profile
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT, TenantLimits
from control.tables import launches, outbox, process_events, processes, tenants
from control.transitions import enqueue, note
from resources.database import Database

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBjYWxsYmFjayB0ZXN0cw=="
TOPIC_ID = "topic-one"


async def add_tenant(db: Database, tenant: str, secret: str = SECRET, **limits: Any) -> None:
    """Make or change a tenant, with these limits."""
    values = {"webhook_secret": secret, "limits": TenantLimits(**limits).model_dump(mode="json", exclude_defaults=True)}
    async with db.transaction() as conn:
        row = upsert(tenants).values(id=tenant, **values)
        await conn.execute(row.on_conflict_do_update(index_elements=["id"], set_=values))


async def add_process(db: Database, *, waiting: bool | None = None, **columns: Any) -> UUID:
    """Insert one process, accepted and waiting for its release unless ``columns`` say otherwise."""
    process_id: UUID = uuid_utils.compat.uuid7()
    request = ProcessRequest(entity_id=f"e-{process_id.hex}", data_version="v1", action="demo")
    values: dict[str, Any] = {
        "id": process_id,
        "tenant_id": DEFAULT_TENANT,
        "entity_id": request.entity_id,
        "data_version": "v1",
        "dataset": "demo",
        "action": "demo",
        "action_digest": "0" * 64,
        "request": request.model_dump(mode="json"),
        "request_hash": request.request_hash(),
        "profile": {"requested": None, "granted": Profile().model_dump(mode="json"), "reason": "test"},
        "cores": 1,
        "priority": 0,
        "state": State.ACCEPTED.value,
        "deadline_at": func.now() + timedelta(days=7),
        **columns,
    }
    is_waiting = values["state"] == State.ACCEPTED.value and "released_at" not in columns
    async with db.transaction() as conn:
        await conn.execute(insert(processes).values(values))
        await note(conn, {"id": process_id, "attempt": 1}, kind="accepted", actor="test")
        if is_waiting if waiting is None else waiting:
            await enqueue(conn, process_id, values.get("attempt", 1))
    return process_id


async def multiply(db: Database, process_id: UUID, count: int) -> None:
    """Add ``count`` copies of a process, each at an entity of its own, and in the outbox if it is."""
    names = [column.name for column in processes.c if column.name not in {"id", "entity_id"}]
    columns = ", ".join(names)
    copied = f"""
        INSERT INTO processes (id, entity_id, {columns})
        SELECT gen_random_uuid(), entity_id || '-' || n, {columns} FROM processes, generate_series(1, :count) n
        WHERE id = :id
    """  # noqa: S608 - names of our own columns
    waiting = """
        INSERT INTO outbox (process_id, attempt)
        SELECT id, attempt FROM processes WHERE entity_id LIKE :like
        AND EXISTS (SELECT 1 FROM outbox WHERE process_id = :id)
    """
    async with db.transaction() as conn:
        await conn.execute(text(copied), {"id": process_id, "count": count})
        await conn.execute(text(waiting), {"id": process_id, "like": f"e-{process_id.hex}-%"})


async def add_launch(
    db: Database,
    process_id: UUID,
    *,
    offset: int = 0,
    attempt: int = 1,
    launch_id: UUID | None = None,
    **columns: Any,
) -> UUID:
    """Let intake have decided the launch of ``attempt``, a new one or that one, and the process be queued with it."""
    launch_id = launch_id or UUID(str(uuid_utils.compat.uuid7()))
    values = {"topic_id": TOPIC_ID, "log_partition": 0, "log_offset": offset, **columns}
    async with db.transaction() as conn:
        row = {"process_id": process_id, "attempt": attempt, "launch_id": launch_id, "lane": "heavy", **values}
        await conn.execute(insert(launches).values(row))
        change = update(processes).where(processes.c.id == process_id)
        await conn.execute(change.values(launch_id=launch_id, state=State.QUEUED.value, released_at=func.now()))
    return launch_id


async def set_columns(db: Database, process_id: UUID, **columns: Any) -> None:
    async with db.transaction() as conn:
        await conn.execute(update(processes).where(processes.c.id == process_id).values(columns))


async def process(db: Database, process_id: UUID) -> RowMapping:
    async with db.transaction() as conn:
        return (await conn.execute(select(processes).where(processes.c.id == process_id))).mappings().one()


async def all_processes(db: Database) -> list[RowMapping]:
    async with db.transaction() as conn:
        return list((await conn.execute(select(processes).order_by(processes.c.id))).mappings())


async def outbox_ids(db: Database) -> set[UUID]:
    async with db.transaction() as conn:
        return set((await conn.execute(select(outbox.c.process_id))).scalars())


async def kinds(db: Database, process_id: UUID) -> list[str]:
    """Return the kinds of the process's events, in order."""
    return [event["kind"] for event in await events(db, process_id)]


async def events(db: Database, process_id: UUID) -> list[RowMapping]:
    async with db.transaction() as conn:
        query = select(process_events).where(process_events.c.process_id == process_id)
        return list((await conn.execute(query.order_by(process_events.c.id))).mappings())


async def cut_off_others(db: Database) -> None:
    """Let the server end every other connection to this database, as a restart would."""
    others = "pid != pg_backend_pid() and datname = current_database()"
    async with db.transaction() as conn:
        await conn.execute(text(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}"))  # noqa: S608 - a constant
