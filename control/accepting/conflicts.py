"""What stands in a request's way: too much that waits already, another process at its target, or what is published."""

from dataclasses import asdict

from sqlalchemy import Integer, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.identity import Coordinate
from contracts.problems import ProblemError
from contracts.tenancy import Tenant
from control.accepting.planning import Plan
from control.snapshots import refuse_retired
from control.tables import ACTIVE_SQL, WAITING_SQL, processes, snapshots

_PUBLISHED = select(snapshots.c.retired_at, snapshots.c.artifact).where(
    *(snapshots.c[name] == bindparam(name) for name in ("entity_id", "data_version", "dataset"))
)
_WAITING = select(func.count()).select_from(
    select(processes.c.id)
    .where(processes.c.tenant_id == bindparam("tenant_id"), WAITING_SQL)
    .limit(bindparam("most", type_=Integer))
    .subquery()
)


async def refuse_active(conn: AsyncConnection, plan: Plan) -> None:
    """Return unless a process is under way there. Raises ProblemError (process_active), with its id if it is ours."""
    target = plan.target
    query = select(processes.c.id, processes.c.tenant_id).where(
        processes.c.entity_id == target.entity_id,
        processes.c.data_version == target.data_version,
        processes.c.dataset == target.dataset,
        ACTIVE_SQL,
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is not None:
        own = {"process_id": str(row["id"])} if row["tenant_id"] == plan.tenant.id else {}
        raise ProblemError("process_active", f"{target} is being computed already", **own)


async def refuse_published(conn: AsyncConnection, target: Coordinate) -> None:
    """Return unless something is published there. Raises ProblemError (version_already_published, version_retired)."""
    row = (await conn.execute(_PUBLISHED, asdict(target))).one_or_none()
    if row is None:
        return
    refuse_retired(target, row.retired_at)
    raise ProblemError("version_already_published", f"{target} is published", snapshot=row.artifact)


async def refuse_backlog(conn: AsyncConnection, tenant: Tenant) -> None:
    """Return unless as many processes wait for their release as the tenant may have.

    Submits that race may overshoot by as many as there are. Raises ProblemError (backlog_full).
    """
    if not await has_room(conn, tenant):
        most = tenant.limits.backlog
        raise ProblemError("backlog_full", f"{most} processes wait for their release: your tenant's bound")


async def has_room(conn: AsyncConnection, tenant: Tenant) -> bool:
    """Return whether one more process of the tenant may wait for its release."""
    most = tenant.limits.backlog
    return most is None or await conn.scalar(_WAITING, {"tenant_id": tenant.id, "most": most}) != most
