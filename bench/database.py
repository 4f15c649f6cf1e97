"""PostgreSQL's share of the machine while processes go the whole way, and what it does for each of them.

python -m bench.database [JSON_FILE] [--short]
"""

import asyncio
import sys
import time

from sqlalchemy import text

from bench.load import Load, send
from bench.postgres import Postgres
from bench.report import SHORT, Report
from bench.stacks import CONTROL_PLANE, BenchStack, bench_stack
from bench.stub_dagster import stub_dagster
from bench.stub_runs import ACTION
from bench.usage import Meter

PER_MINUTE = 300
SECONDS, WARM_UP_SECONDS, COUNTED_SECONDS = 180, 30, 60
MOST_SHARE, LEAST_PER_MINUTE = 18.0, 270.0
"""The second: the last ones end some seconds after the last submit. Where it is missed the share says nothing."""
_PATIENCE_SECONDS = 600.0
_OPEN = "SELECT count(*) FROM processes WHERE finished_at IS NULL"


def main() -> int:
    """Measure and report."""
    seconds, warm_up, counted = (10, 2, 10) if SHORT in sys.argv else (SECONDS, WARM_UP_SECONDS, COUNTED_SECONDS)
    method = (
        f"{PER_MINUTE} processes/min for {seconds} s after {warm_up} s of warm-up, from POST to the callback's row: "
        "release, Kafka, Dagster's own daemon with the real sensor, intake, runs that Dagster executes and that "
        "report, commit an empty snapshot to S3 and succeed; one server holds both databases, the control plane's and "
        "Dagster's. Not included: Dagster's webserver; the start of a run's own process (warm ones execute all runs, "
        "with every statement of a real one); compute logs, which no database sees. Statements are counted over the "
        f"next {counted} s, in both databases, with what the servers ask while they wait"
    )
    report = Report("database", method)
    with bench_stack(only=CONTROL_PLANE | {"orphans"}) as bench, stub_dagster(bench):
        _process(bench, warm_up)
        resting = Meter(bench.stack)
        before, idle = asyncio.run(Postgres(bench.stack).counts()), resting.read()
        meter = Meter(bench.stack)
        took, count = _process(bench, seconds)
        used = meter.read()
        done = asyncio.run(Postgres(bench.stack).counts()) - before
        with Postgres(bench.stack).statements() as sent:
            _, of = _process(bench, counted)
    report.add_least("per_minute", count / took * 60, "processes/min", LEAST_PER_MINUTE)
    report.add("postgres_share", used.share("postgres"), "% of all cores", MOST_SHARE)
    report.add("postgres_share_idle", idle.share("postgres"), "% of all cores")
    report.add("postgres_cpu", used.of["postgres"] / count * 1000, "ms/process")
    for server in ("api", "worker", "kafka", "s3"):
        report.add(f"{server}_cpu", used.of[server] / count * 1000, "ms/process")
    report.add("machine_elsewhere", used.elsewhere, "%")
    for name in ("inserted", "updated", "updated_in_place", "deleted"):
        report.add(f"rows_{name}", getattr(done, name) / count, "rows/process")
    report.add("statements", sum(each != _OPEN for each in sent) / of, "statements/process")
    report.add("transactions", done.transactions / count, "transactions/process")
    report.add("connections", done.connections / count, "connections/process")
    report.add("wal", done.wal_bytes / count / 1024, "KiB/process")
    return report.publish(sys.argv[1:])


def _process(bench: BenchStack, seconds: int) -> tuple[float, int]:
    """Submit evenly for ``seconds`` and wait until all have succeeded; return how long that took, and how many."""
    version, began = f"bench-{time.time_ns()}", time.monotonic()
    count = PER_MINUTE * seconds // 60
    bodies = [{"entity_id": f"site-{number:06d}", "data_version": version, "action": ACTION} for number in range(count)]
    headers = {"Authorization": f"Bearer {bench.key}"}
    send(Load(f"{bench.settings.api_url}/v1/processes", headers, bodies, PER_MINUTE // 60, expected=202))
    asyncio.run(_all_ended(bench))
    return time.monotonic() - began, count


async def _all_ended(bench: BenchStack) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    async with Postgres(bench.stack).database("lakemill") as db, db.reading() as conn:
        while await conn.scalar(text(_OPEN)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes have not ended within {_PATIENCE_SECONDS:g} s")
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
