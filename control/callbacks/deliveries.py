"""The callbacks of a process as its tenant sees them: every try of each, and sending them again."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, func, select, update

from contracts.problems import ProblemError
from contracts.views import CallbackLog, Callbacks, CallbackTry
from control.callbacks.schedule import DeliveryState
from control.tables import deliveries, process_events
from control.tenancy.keys import Caller
from control.tenancy.ownership import own_process
from control.transitions import lock, note
from resources.database import Database

KINDS = ("callback_delivered", "callback_failed", "callback_exhausted")


async def callbacks_of(db: Database, tenant_id: str, process_id: UUID) -> Callbacks:
    """Return the callbacks of a process, none before it has ended. Raises ProblemError (not_found)."""
    async with db.reading() as conn:
        await own_process(conn, tenant_id, process_id)
        of_process = deliveries.c.process_id == process_id
        shown = [column for column in deliveries.c if column.name != "body"]
        sent = (await conn.execute(select(*shown).where(of_process).order_by(deliveries.c.created_at))).mappings()
        query = select(process_events).where(
            process_events.c.process_id == process_id, process_events.c.kind.in_(KINDS)
        )
        events = (await conn.execute(query.order_by(process_events.c.id))).mappings().all()
    return Callbacks(callbacks=[_log(row, events) for row in sent])


async def redeliver(db: Database, caller: Caller, process_id: UUID) -> None:
    """Let every callback of a process be sent again, now and on a schedule of its own.

    The bytes and the webhook-id stay, so that a receiver knows it has seen them. Raises ProblemError: not_found,
    no_callback.
    """
    async with db.transaction() as conn:
        row = await own_process(conn, caller.tenant_id, process_id)
        await lock(conn, process_id)  # first, as everybody does
        again = update(deliveries).where(deliveries.c.process_id == process_id)
        values = {"state": DeliveryState.PENDING.value, "tries": 0, "next_try_at": func.now(), "delivered_at": None}
        if not (await conn.execute(again.values(values))).rowcount:
            raise ProblemError("no_callback", f"the process is {row['state']} and has no callback")
        await note(conn, row, kind="callback_repeated", actor=caller.actor)


def _log(row: RowMapping, events: Sequence[RowMapping]) -> CallbackLog:
    tries = [
        CallbackTry(
            at=event["at"],
            number=event["detail"]["tries"],
            **{name: event["detail"][name] for name in ("status", "error", "next_try_in_seconds")},
        )
        for event in events
        if event["detail"]["webhook_id"] == str(row["id"])
    ]
    names = ("url", "state", "tries", "last_status", "last_error", "delivered_at")
    waits = row["state"] == DeliveryState.PENDING.value
    return CallbackLog(
        webhook_id=row["id"],
        **{name: row[name] for name in names},
        next_try_at=row["next_try_at"] if waits else None,
        log=tries,
    )
