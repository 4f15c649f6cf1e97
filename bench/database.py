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
from control.tables import ACTIVE_SQL

PER_MINUTE = 300
SECONDS, WARM_UP_SECONDS, COUNTED_SECONDS = 180, 30, 60
MOST_SHARE, LEAST_PER_MINUTE = 18.0, 270.0
"""The second: the last ones end some seconds after the last submit. Where it is missed the share says nothing."""
_TIMES_LONGER, _SPARE_SECONDS, _SHORT_SPARE_SECONDS = 2, 30.0, 240.0
"""A machine that takes so much longer than the submits do gets nowhere near; to try the bench it may take long."""
_OPEN = f"SELECT count(*) FROM processes WHERE {ACTIVE_SQL.text}"  # noqa: S608 - a constant of our own module
_OTHERS = """
    SELECT concat_ws(' ', count(*), state, reason->>'code') FROM processes WHERE state <> 'succeeded'
    GROUP BY state, reason->>'code' ORDER BY 1
"""


class RateNotReachedError(RuntimeError):
    """Processes end so much slower than they are submitted that nothing is worth measuring."""


def main() -> int:
    """Measure and report; 1 also when the rate is so far from reached that nothing is reported."""
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
    try:
        _measure(report, seconds, warm_up, counted)
    except RateNotReachedError as error:
        print(error, file=sys.stderr)
        return 1
    return report.publish(sys.argv[1:])


def _measure(report: Report, seconds: int, warm_up: int, counted: int) -> None:
    with bench_stack(only=CONTROL_PLANE | {"orphans"}) as bench, stub_dagster(bench) as dagster:
        _process(bench, Meter(bench.stack, dagster), warm_up)
        resting = Meter(bench.stack, dagster)
        before, idle = asyncio.run(Postgres(bench.stack).counts()), resting.read()
        meter = Meter(bench.stack, dagster)
        took, count = _process(bench, meter, seconds)
        used = meter.read()
        done = asyncio.run(Postgres(bench.stack).counts()) - before
        with Postgres(bench.stack).statements() as sent:
            _, of = _process(bench, Meter(bench.stack, dagster), counted)
    report.add_least("per_minute", count / took * 60, "processes/min", LEAST_PER_MINUTE)
    report.add("postgres_share", used.share("postgres"), "% of all cores", MOST_SHARE)
    report.add("postgres_share_idle", idle.share("postgres"), "% of all cores")
    for server in ("postgres", "api", "worker", "kafka", "s3", *dagster):
        report.add(f"{server}_cpu", used.of[server] / count * 1000, "ms/process")
    report.add("machine_elsewhere", used.elsewhere, "%")
    for name in ("inserted", "updated", "updated_in_place", "deleted"):
        report.add(f"rows_{name}", getattr(done, name) / count, "rows/process")
    report.add("statements", sum(each != _OPEN for each in sent) / of, "statements/process")
    report.add("transactions", done.transactions / count, "transactions/process")
    report.add("connections", done.connections / count, "connections/process")
    report.add("wal", done.wal_bytes / count / 1024, "KiB/process")


def _process(bench: BenchStack, meter: Meter, seconds: int) -> tuple[float, int]:
    """Submit evenly for ``seconds`` and wait until all have succeeded; return how long that took, and how many.

    Raises RateNotReachedError.
    """
    version, began = f"bench-{time.time_ns()}", time.monotonic()
    count = PER_MINUTE * seconds // 60
    bodies = [{"entity_id": f"site-{number:06d}", "data_version": version, "action": ACTION} for number in range(count)]
    headers = {"Authorization": f"Bearer {bench.key}"}
    load = Load(f"{bench.settings.api_url}/v1/processes", headers, bodies, PER_MINUTE // 60, expected=202)
    refused = send(load).other
    spare = _SHORT_SPARE_SECONDS if SHORT in sys.argv else _SPARE_SECONDS
    others = asyncio.run(_all_succeeded(bench, began + _TIMES_LONGER * seconds + spare))
    took = time.monotonic() - began
    if others or refused:
        raise RateNotReachedError(
            f"{count} processes were submitted in {seconds} s, and after {took:.0f} s not all have succeeded: "
            f"{others or 'all that were accepted have'}; not accepted: {dict(refused)}. "
            f"Others than the measured servers used {meter.read().elsewhere:.0f} % of the machine meanwhile"
        )
    return took, count


async def _all_succeeded(bench: BenchStack, deadline: float) -> str:
    """Wait until no process is under way; return how those stand that have not succeeded by then, "" without any."""
    async with Postgres(bench.stack).database("lakemill") as db, db.reading() as conn:
        while await conn.scalar(text(_OPEN)):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        return ", ".join((await conn.execute(text(_OTHERS))).scalars())


if __name__ == "__main__":
    sys.exit(main())
