"""Lists and the worker's passes over a million ended processes: what is asked for is found, and the past costs nothing.

python -m bench.scale [JSON_FILE] [--short]
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from typing import Any

import httpx

from api.app import create_app
from bench.filling import (
    BACKFILLS,
    CROWD,
    HEAVY,
    RARE_ACTION,
    RARE_ENTITY,
    RARE_VERSION,
    SMALL,
    UNFINISHED,
    Filled,
    add_backlog,
    fill,
)
from bench.plans import execution_ms, explain, sent_statements
from bench.postgres import Postgres
from bench.report import SHORT, Report
from bench.stacks import BenchStack, bench_stack
from bench.worker_passes import worker_passes
from contracts.tenancy import DEFAULT_TENANT, Scope
from control.backfills.counts import keep_counts
from control.tenancy import keys
from resources.database import Database

COUNT, FEW, BACKLOG = 1_000_000, 1_000, 100_000
LIST_MS = 100.0
_SERVERS = frozenset({"postgres", "s3", "migrations", "api"})
_TIMES = 5


def main() -> int:
    """Measure and report."""
    count = 5_000 if SHORT in sys.argv else COUNT
    method = (
        f"{count:,} ended processes with launches, events and snapshots of three tenants, one in {HEAVY} with "
        f"parameters of 32 KiB, half of them of {BACKFILLS} backfills, {UNFINISHED} of which have not ended; lists "
        "through the live API "
        f"on one warm connection, the median of {_TIMES}; passes of the worker with nothing under way, beside those "
        f"over {FEW:,} ended processes, and the reconciler's with {BACKLOG:,} more that wait for their release; every "
        "plan is printed"
    )
    report, plans = Report("scale", method), dict[str, str]()
    few = _measure(FEW, lists=False, report=report, plans={})
    many = _measure(count, lists=True, report=report, plans=plans)
    for name, milliseconds in many.items():
        report.add(f"{name}_of_{FEW}", few[name], "ms")
        report.add(f"{name}_of_{count}", milliseconds, "ms", target=max(3 * few[name], few[name] + 10))
    for name, plan in plans.items():
        print(f"\n-- {name}\n{plan}")
    return report.publish(sys.argv[1:])


def _measure(count: int, *, lists: bool, report: Report, plans: dict[str, str]) -> dict[str, float]:
    """Fill a stack of its own with ``count`` processes; return how long each of the worker's passes takes, in ms."""
    with bench_stack(only=_SERVERS) as bench:
        filled = asyncio.run(_fill(bench, count))
        if lists:
            asyncio.run(_lists(bench, filled, report, plans))
        passes = asyncio.run(_passes(bench, plans))
        return passes | asyncio.run(_beside_a_backlog(bench))


async def _fill(bench: BenchStack, count: int) -> Filled:
    async with Postgres(bench.stack).database("lakemill") as db:
        filled = await fill(db, count)
        while await keep_counts(db):  # as a worker has done long ago
            pass
        return filled


def _paths(filled: Filled) -> dict[str, tuple[str, str]]:
    """Return name → (tenant, path): every filter, with what is frequent, what is rare, and what does not exist."""
    processes = {
        "all": "",
        "state_frequent": "state=succeeded",
        "state_rare": "state=expired",
        "state_none": "state=running",
        "action_rare": f"action={RARE_ACTION}",
        "action_none": "action=unheard_of",
        "version_old": f"data_version={RARE_VERSION}",
        "version_none": "data_version=v9999999",
        "entity": f"entity_id={RARE_ENTITY}",
        "entity_none": "entity_id=nowhere",
        "entity_of_others": "entity_id=site-0",
        "backfill": f"backfill_id={filled.newest_backfill}",
        "backfill_failed": f"backfill_id={filled.newest_backfill}&state=cancelled",
        "action_and_state": f"action={RARE_ACTION}&state=failed",
        "version_and_state": f"data_version={RARE_VERSION}&state=expired",
        "version_and_action": f"data_version={RARE_VERSION}&action=action_1",
        "deep_page": "cursor=AYvP5WgAcACAAAAAAAGGoA",
    }
    snapshots = {
        "all": "",
        "entity": f"entity_id={RARE_ENTITY}",
        "version_old": f"data_version={RARE_VERSION}",
        "version_none": "data_version=v9999999",
        "dataset": "dataset=dataset_3",
        "dataset_none": "dataset=unheard_of",
        "version_and_dataset": f"data_version={RARE_VERSION}&dataset=dataset_3",
    }
    asked = {f"processes_{name}": (DEFAULT_TENANT, f"/v1/processes?{query}") for name, query in processes.items()}
    asked |= {f"snapshots_{name}": (DEFAULT_TENANT, f"/v1/snapshots?{query}") for name, query in snapshots.items()}
    asked |= {f"shared_snapshots_{name}": (SMALL, f"/v1/snapshots?{query}") for name, query in snapshots.items()}
    asked["processes_of_nobody"] = (SMALL, "/v1/processes")
    asked["processes_of_few"] = (CROWD, "/v1/processes?state=failed")
    asked["backfills"] = (DEFAULT_TENANT, "/v1/backfills")
    return {name: (tenant, path.rstrip("?")) for name, (tenant, path) in asked.items()}


async def _lists(bench: BenchStack, filled: Filled, report: Report, plans: dict[str, str]) -> None:
    db = Database(bench.settings.database_url, statement_seconds=60)
    async with db.transaction() as conn:
        held = {tenant: await keys.create(conn, tenant, [Scope.READ]) for tenant in (DEFAULT_TENANT, CROWD, SMALL)}
    headers = {tenant: {"Authorization": f"Bearer {key.get_secret_value()}"} for tenant, key in held.items()}
    async with httpx.AsyncClient(base_url=bench.settings.api_url, trust_env=False, timeout=60) as client:
        for name, (tenant, path) in _paths(filled).items():
            took = [await _timed(lambda: _get(client, path, headers[tenant])) for _ in range(_TIMES)]  # noqa: B023
            report.add(name, median(took), "ms", LIST_MS)
    await _explain_lists(bench, db, _paths(filled), headers, report, plans)
    await db.close()


async def _get(client: httpx.AsyncClient, path: str, headers: Mapping[str, str]) -> None:
    (await client.get(path, headers=headers)).raise_for_status()


async def _explain_lists(
    bench: BenchStack,
    db: Database,
    paths: Mapping[str, tuple[str, str]],
    headers: Mapping[str, Mapping[str, str]],
    report: Report,
    plans: dict[str, str],
) -> None:
    """Ask once more, of an API in this process, where what it sends to the database can be seen."""
    app = create_app(settings=bench.settings, db=db)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        for name, (tenant, path) in paths.items():
            with sent_statements() as sent:
                await _get(client, path, headers[tenant])
            # The first finds the caller.
            plan = "\n".join(filter(None, [await explain(db, each) for each in sent[1:]]))
            plans[f"{name}: GET {path}"] = plan
            report.add(f"{name}_statements", execution_ms(plan), "ms of PostgreSQL")


async def _passes(bench: BenchStack, plans: dict[str, str]) -> dict[str, float]:
    db = Database(bench.settings.database_url, statement_seconds=60)
    found = {}
    for name, one_pass in worker_passes(db, bench.settings).items():
        with sent_statements() as sent:
            await one_pass()
        found[name] = median([await _timed(one_pass) for _ in range(_TIMES)])
        shown: Sequence[str | None] = [await explain(db, each) for each in sent]
        plans[name] = "\n".join(plan for plan in shown if plan is not None)
    await db.close()
    return found


async def _beside_a_backlog(bench: BenchStack) -> dict[str, float]:
    async with Postgres(bench.stack).database("lakemill") as superuser:
        await add_backlog(superuser, BACKLOG)
    db = Database(bench.settings.database_url, statement_seconds=60)
    reconcile = worker_passes(db, bench.settings)["reconciler_pass"]
    await reconcile()
    took = [await _timed(reconcile) for _ in range(_TIMES)]
    await db.close()
    return {"reconciler_pass_beside_a_backlog": median(took)}


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
