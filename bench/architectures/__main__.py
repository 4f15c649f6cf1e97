"""The field's three architectures on one machine, with the same transformation and data.

python -m bench.architectures [JSON_FILE] [--short]

- synchronous: an API that computes in PostgreSQL and answers afterwards (synchronous.py);
- queue: an API that queues in PostgreSQL, workers with Polars, artifacts in PostgreSQL (queue_api.py, queue_worker.py);
- lakemill: the embedded stack.

Their results are compared: a bench of three different sums would say nothing.
"""

import asyncio
import sys
from statistics import median

from bench.architectures.contenders import CONTENDERS, WORKERS
from bench.architectures.looking import LOOKS_PER_SECOND
from bench.architectures.measuring import Outcome, deliver, measure
from bench.report import SHORT, Report, percentile

SCALE, ENTITIES, ROUNDS = 1.0, 2, 3
_MIB = 2**20


def main() -> int:
    """Measure and report."""
    scale, count, rounds = (0.01, 1, 1) if SHORT in sys.argv else (SCALE, ENTITIES, ROUNDS)
    entities = [f"site-{number}" for number in range(count)]
    outcomes: dict[str, list[Outcome]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            with contender() as ready:
                records = deliver(ready, scale, entities)
                outcomes[name].append(asyncio.run(measure(ready, entities, records)))
        _refuse_other_revenue({name: of[-1] for name, of in outcomes.items()})
    report = Report("architectures", _method(scale, count, rounds))
    for name, of in outcomes.items():
        _add(report, name, of)
    return report.publish(sys.argv[1:])


def _method(scale: float, count: int, rounds: int) -> str:
    return (
        f"{rounds} rounds in turns, each from nothing; medians. {count} entities at once: lineitem, orders and "
        f"customer of TPC-H (scale {scale:g}) lie in S3 as Parquet, are ingested and checked, and revenue by month and "
        "segment is computed of them; all three results are equal. synchronous: FastAPI, PostgreSQL 18 tuned, COPY "
        "into a partition per entity and version, one query for the revenue. queue: FastAPI, rows taken with SKIP "
        f"LOCKED and NOTIFY, Polars, zstd Parquet in bytea; {WORKERS} processes of each API and of the workers. "
        "lakemill: the embedded stack, a Spark for each process, two at a time, PostgreSQL as it ships. look: GET of a "
        f"process's state, {LOOKS_PER_SECOND}/s on schedule while all is computed, timed where it answers 200; early: "
        "404 before the first 200; submit: POST, which in the synchronous one is the computation. Database CPU: every "
        "process of PostgreSQL; stored: growth of the databases, and objects written; records: rows delivered"
    )


def _refuse_other_revenue(outcomes: dict[str, Outcome]) -> None:
    """Return when all agree. Raises RuntimeError."""
    first, *others = outcomes.values()
    if not all(outcome.revenue == first.revenue and all(first.revenue.values()) for outcome in others):
        shown = {name: [rows[:2] for rows in outcome.revenue.values()] for name, outcome in outcomes.items()}
        raise RuntimeError(f"the results differ: {shown}")


def _add(report: Report, name: str, of: list[Outcome]) -> None:
    def middle(values: list[float]) -> float:
        return median(values)

    millions = of[0].records / 1e6
    report.add(f"{name}_seconds", middle([each.seconds for each in of]), "s")
    report.add(f"{name}_records_per_hour", middle([each.records / each.seconds * 3600 for each in of]), "records/h")
    report.add(f"{name}_look_p95", percentile([look for each in of for look in each.looks], 0.95), "ms")
    report.add(f"{name}_looks_early", sum(each.looks_early for each in of), "requests")
    report.add(f"{name}_looks_failed", sum(each.looks_failed for each in of), "requests")
    report.add(f"{name}_submit_p95", percentile([took for each in of for took in each.submits], 0.95), "ms")
    database = middle([each.database_cpu_seconds for each in of])
    report.add(f"{name}_database_cpu", database, "s")
    report.add(f"{name}_database_cpu_per_million", database / millions, "s/million records")
    report.add(f"{name}_database_stored", middle([each.database_bytes / _MIB for each in of]), "MiB")
    report.add(f"{name}_database_log", middle([each.log_bytes / _MIB for each in of]), "MiB")
    report.add(f"{name}_objects_stored", middle([each.object_bytes / _MIB for each in of]), "MiB")


if __name__ == "__main__":
    sys.exit(main())
