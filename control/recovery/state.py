"""Recovering: from the beginning of a rebuild until one has ended well, nothing new is accepted or released.

The restored database may not know whose an entity is, or what was retired: until it does, a submit could be given what
is another tenant's. Reads, reports and callbacks go on.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.problems import ProblemError
from control.recovery.tables import RECOVERING, recovery
from control.tables import ACTIVE_SQL, processes
from control.tenancy.admin_log import note_admin

RETRY_AFTER_SECONDS = 30


def recovering() -> ProblemError:
    """Return the refusal of everything that would begin something new."""
    told = "the control plane is being rebuilt after a restore of its database"
    return ProblemError("recovering", told, retry_after=RETRY_AFTER_SECONDS)


async def refuse_while_recovering(conn: AsyncConnection) -> None:
    """Return unless a rebuild is under way, or was cut off. Raises ProblemError (recovering)."""
    if await conn.scalar(select(RECOVERING)):
        raise recovering()


async def begin(conn: AsyncConnection, actor: str) -> datetime:
    """Let the recovery begin, unless one has; returns since when it lasts, by the database's clock."""
    row = upsert(recovery).values(id=1, actor=actor).on_conflict_do_nothing()
    if (await conn.execute(row)).rowcount:
        await note_admin(conn, actor, "rebuild_began", None)
    began_at: datetime = (await conn.execute(select(recovery.c.began_at))).scalar_one()
    return began_at


async def suppose_permits(conn: AsyncConnection, until: datetime) -> None:
    """Treat every process that has not ended as if it held a commit permit ``until`` then.

    The lost database may have given one; so none ends without success before its commit could have appeared.
    """
    longest = func.greatest(processes.c.permit_until, until)
    await conn.execute(update(processes).where(ACTIVE_SQL).values(permit_until=longest))


async def end(conn: AsyncConnection, actor: str, told: Mapping[str, Any], *, is_over: bool) -> None:
    """Note what a rebuild has done and found, and let the recovery end if it ``is_over``."""
    if is_over:
        await conn.execute(delete(recovery))
    await note_admin(conn, actor, "rebuild_ended" if is_over else "rebuild_unfinished", None, told)
