"""A backfill of 100,000 entities becomes processes, and no transaction is long.

python -m bench.backfill [JSON_FILE] [--short]
"""

import asyncio
import sys
import time

import httpx
from sqlalchemy import text

from bench.postgres import Postgres
from bench.report import SHORT, Report
from bench.stacks import CONTROL_PLANE, BenchStack, bench_stack
from bench.stub_runs import ACTION
from bench.usage import Meter
from resources.database import Database

COUNT = 100_000
LONGEST_SECONDS = 2.0
_PATIENCE_SECONDS = 3600.0
_SAMPLED_SECONDS = 0.02
_SHOWN = 300
_OLDEST = """
    SELECT extract(epoch FROM clock_timestamp() - xact_start) AS seconds, state || ': ' || query AS doing
    FROM pg_stat_activity
    WHERE datname = 'lakemill' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1
"""


def main() -> int:
    """Measure and report."""
    count = 2_000 if SHORT in sys.argv else COUNT
    method = (
        f"one POST /v1/backfills that names {count:,} entities; the worker makes a process of each and releases all to "
        f"Kafka, no limit in its way; every {_SAMPLED_SECONDS * 1000:g} ms from before the POST until the backfill is "
        "expanded PostgreSQL is asked for its oldest open transaction; everything on one machine"
    )
    report = Report("backfill", method)
    with bench_stack(only=CONTROL_PLANE, env={"LAKEMILL_MAX_IN_FLIGHT": str(2 * COUNT)}) as bench:
        meter = Meter(bench.stack)
        asyncio.run(_measure(bench, count, report))
        used = meter.read()
    for server in ("worker", "postgres"):
        report.add(f"{server}_cpu", used.of[server] / count * 1000, "ms/process")
    report.add("machine_elsewhere", used.elsewhere, "%")
    return report.publish(sys.argv[1:])


async def _measure(bench: BenchStack, count: int, report: Report) -> None:
    headers, ended = {"Authorization": f"Bearer {bench.key}"}, asyncio.Event()
    entities = [f"site-{number:06d}" for number in range(count)]
    asked = {"action": ACTION, "data_version": "v1", "select": {"entities": entities}}
    async with (
        Postgres(bench.stack).database("lakemill") as db,
        httpx.AsyncClient(base_url=bench.settings.api_url, headers=headers, trust_env=False, timeout=60) as client,
    ):
        sampling, began = asyncio.create_task(_longest(db, ended)), time.monotonic()
        made = (await client.post("/v1/backfills", json=asked)).raise_for_status().json()
        report.add("create", time.monotonic() - began, "s")
        view = await _expanded(client, made["backfill_id"])
        took = time.monotonic() - began
        ended.set()
        longest, doing = await sampling
        report.add("longest_transaction", longest, "s", LONGEST_SECONDS)
        print(f"The longest transaction was last seen in the state {doing}")
    report.add("expanded", took, "s")
    report.add("rate", count / took, "processes/s")
    report.add("not_made", count - sum(view["processes"].values()), "processes", target=0)


async def _longest(db: Database, ended: asyncio.Event) -> tuple[float, str]:
    """Return the age of the oldest transaction that was seen until ``ended``, in seconds, and what it did then."""
    longest, doing = 0.0, ""
    async with db.reading() as conn:
        while not ended.is_set():
            oldest = (await conn.execute(text(_OLDEST))).first()
            if oldest is not None and oldest.seconds > longest:
                longest, doing = float(oldest.seconds), " ".join(oldest.doing.split())[:_SHOWN]
            await asyncio.sleep(_SAMPLED_SECONDS)
    return longest, doing


async def _expanded(client: httpx.AsyncClient, backfill_id: str) -> dict[str, dict[str, int]]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        view = (await client.get(f"/v1/backfills/{backfill_id}")).raise_for_status().json()
        if view["state"] == "expanded":
            return dict(view)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the backfill is {view['state']} after {_PATIENCE_SECONDS:g} s: {view['last_refusal']}")
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
