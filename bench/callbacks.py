"""From a process's end to its requester: how many callbacks a second, and how soon, with one dead host among ten.

python -m bench.callbacks [JSON_FILE] [--short]
"""

import asyncio
import sys
import time
from uuid import UUID

from sqlalchemy import text

from bench.postgres import Postgres
from bench.receivers import Arrived, Receivers, receivers
from bench.report import SHORT, Report, percentile
from bench.stacks import CONTROL_PLANE, BenchStack, bench_stack
from bench.usage import Meter
from contracts.states import State
from contracts.tenancy import DEFAULT_TENANT
from control.transitions import move
from resources.database import Database

PER_SECOND, HOSTS, SECONDS = 120, 10, 60
"""Ends a second in all; one in ``HOSTS`` is to be told to the dead one."""
RATE, P95_MS = 100.0, 1000.0
_PATIENCE_SECONDS = 60.0
_AT_ONCE = 4

_RUNNING = """
    INSERT INTO processes (id, tenant_id, entity_id, data_version, dataset, action, action_digest, request,
                           request_hash, callback_url, profile, priority, state, released_at, deadline_at)
    SELECT gen_random_uuid(), :tenant, 'site-' || n, 'v1', 'orders', 'ingest_orders', repeat('0', 64), '{}',
           repeat('0', 64), (cast(:urls AS text[]))[1 + n % :hosts], '{}', 0, 'running', now(),
           now() + interval '7 days'
    FROM generate_series(1, :count) n
    RETURNING id
"""


def main() -> int:
    """Measure and report."""
    seconds = 3 if SHORT in sys.argv else SECONDS
    method = (
        f"{PER_SECOND} processes a second end for {seconds} s (control/transitions.py: move, in the bench's own "
        f"process), each with a callback to one of {HOSTS} hosts, one of which never answers; the worker sends them; "
        "latency from finished_at to the receiver, of the hosts that answer; everything on one machine"
    )
    report = Report("callbacks", method)
    with bench_stack(only=CONTROL_PLANE) as bench, receivers(HOSTS - 1) as hosts:
        meter = Meter(bench.stack)
        count = asyncio.run(_end(bench, hosts, seconds))
        arrived = _all_arrived(hosts, count)
        used = meter.read()
    _add(report, arrived, count)
    for server in ("worker", "postgres"):
        report.add(f"{server}_cpu", used.of[server] / count * 1000, "ms/callback")
    report.add("machine_elsewhere", used.elsewhere, "%")
    return report.publish(sys.argv[1:])


def _add(report: Report, arrived: list[Arrived], count: int) -> None:
    latencies = [(each.at - each.ended_at) * 1000 for each in arrived]
    for name, share, target in (("p50", 0.50, None), ("p95", 0.95, P95_MS), ("p99", 0.99, None)):
        report.add(f"callback_{name}", percentile(latencies, share), "ms", target)
    report.add("callback_max", max(latencies), "ms")
    took = arrived[-1].at - min(each.ended_at for each in arrived)
    report.add_least("callback_rate", len(arrived) / took, "callbacks/s", RATE)
    report.add("not_delivered", count - len({each.webhook_id for each in arrived}), "callbacks", target=0)
    report.add("repeated", len(arrived) - len({each.webhook_id for each in arrived}), "callbacks", target=0)


async def _end(bench: BenchStack, hosts: Receivers, seconds: int) -> int:
    """End processes evenly for ``seconds``; return for how many an answering host is to be told."""
    urls = [*hosts.urls, hosts.silent_url]
    async with Postgres(bench.stack).database("lakemill") as db, db.transaction() as conn:
        given = {"tenant": DEFAULT_TENANT, "urls": urls, "hosts": HOSTS, "count": PER_SECOND * seconds}
        running = list((await conn.execute(text(_RUNNING), given)).scalars())
    db = Database(bench.settings.database_url, pool_size=_AT_ONCE)
    places, began = asyncio.Semaphore(_AT_ONCE), time.monotonic()

    async def end(process_id: UUID) -> None:
        async with places, db.transaction() as conn:
            await move(conn, process_id, State.CANCELLED, actor="bench")

    async with asyncio.TaskGroup() as group:
        for number, process_id in enumerate(running):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            group.create_task(end(process_id))
    await db.close()
    return len(running) * (HOSTS - 1) // HOSTS


def _all_arrived(hosts: Receivers, count: int) -> list[Arrived]:
    """Return the callbacks once all have come, or the patience is over."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        arrived = hosts.arrived()
        if len({each.webhook_id for each in arrived}) >= count or time.monotonic() > deadline:
            return arrived
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
