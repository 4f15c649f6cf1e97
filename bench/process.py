"""From POST to callback, cold, against a bare ``spark-submit`` of the same work: seconds per stage, records per hour.

python -m bench.process [JSON_FILE] [--short]
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from assets.tables.footers import read_footers
from bench.report import SHORT, Report
from bench.requester import Requester, Timed
from bench.stacks import BenchStack, bench_stack
from bench.stock.submit import StockSubmit
from bench.tpch import Tpch
from cli.client import ApiClient
from cli.demo.landing import land_flights
from cli.demo.receiver import CallbackReceiver
from contracts.identity import Coordinate
from deploy.local.site import ROOT
from resources.lake.store import Lake, S3Lake

PROCESSES = 5
"""Of ``ingest_flights``: what a process costs when there is next to nothing to compute."""
TURNS: Mapping[float, int] = {1: 5, 5: 3}
"""Scale of TPC-H → turns; lineitem has 6,001,215 rows at scale 1."""
ACTIONS = {"ingest_lineitem": "rewrite", "aggregate_revenue": "revenue"}
HEAP = "2g"
"""Of the bare driver; as much as the profile ``medium`` grants to ours."""
MOST_OVERHEAD_SECONDS, LEAST_MARGINAL_RATE = 12.0, 0.95


@dataclass
class Pair:
    """The same work done both ways, in turns."""

    rows: int
    ours: list[Timed] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median from POST to callback."""
        return median(timed.seconds for timed in self.ours)

    @property
    def overhead(self) -> float:
        """The median of what ours took longer than the bare job of its turn, in seconds."""
        return median(timed.seconds - bare for timed, bare in zip(self.ours, self.bare, strict=True))


def main() -> int:
    """Measure and report."""
    short = SHORT in sys.argv
    turns = {0.01: 1} if short else TURNS
    count = 1 if short else PROCESSES
    with bench_stack() as bench:
        landing, lake = (S3Lake(bench.settings, name) for name in (bench.settings.landing_bucket, "lake"))
        with CallbackReceiver(bench.webhook_secret) as receiver, ApiClient(bench.settings.api_url, bench.key) as client:
            requester = Requester(client, receiver)
            deliveries = list(land_flights(landing, whole_year=False))[:count]
            flights = [requester.run("ingest_flights", landed.coordinate) for landed in deliveries]
            tables = {scale: Tpch.prepare(scale, landing, lake, requester) for scale in turns}
            pairs = _in_turns(bench, requester, tables, turns)
    report = Report("process", _method(turns, count, tables))
    _add_timed(report, "", flights)
    for (action, scale), pair in pairs.items():
        _add_pair(report, f"{ACTIONS[action]}_sf{scale:g}", pair)
    add_marginal_rates(report, pairs)
    return report.publish(sys.argv[1:])


def _method(turns: Mapping[float, int], count: int, tables: Mapping[float, Tpch]) -> str:
    rows = ", ".join(f"{table.rows['lineitem']:,} at scale {scale:g}" for scale, table in tables.items())
    return (
        f"{count} processes of ingest_flights, some 4,000 rows of CSV each; then TPC-H (tpchgen-cli; rows of lineitem: "
        f"{rows}), turns by scale {dict(turns)}: each turn submits ingest_lineitem (rewrite) and aggregate_revenue "
        "(revenue), each followed by a bare spark-submit that writes the same rows from the same files to the same S3 "
        "as plain Parquet: spark.jars, magic committer, all cores, as much heap, else Spark's defaults. Overhead: ours "
        "less the bare one of its turn. One process at a time, each with its own Spark; medians; every server of the "
        "embedded stack on the same machine, idle while the bare one runs"
    )


def _in_turns(
    bench: BenchStack, requester: Requester, tables: Mapping[float, Tpch], turns: Mapping[float, int]
) -> dict[tuple[str, float], Pair]:
    stock = StockSubmit(bench.settings, ROOT / ".lakemill" / "jars" / "spark", HEAP)
    lake = S3Lake(bench.settings, "lake")
    stock.run("ingest_lineitem", lake.spark_url("bare/warm-up/"), tables[min(tables)].sources("ingest_lineitem"))
    pairs = {(action, scale): Pair(table.count(action)) for scale, table in tables.items() for action in ACTIONS}
    for (action, scale), pair in pairs.items():
        for turn in range(turns[scale]):
            table, version, target = tables[scale], f"sf{scale:g}-turn{turn}", f"bare/{action}/{scale:g}/{turn}/"
            place = Coordinate(table.entity, version, "timed")
            pair.ours.append(requester.run(action, place, **table.request(action)))
            pair.bare.append(stock.run(action, lake.spark_url(target), table.sources(action)))
            _refuse_other_rows(lake, target, pair.ours[-1])
    return pairs


def _refuse_other_rows(lake: Lake, target: str, timed: Timed) -> None:
    """Return when the bare job has written as many rows. Raises RuntimeError."""
    files = [found for found in lake.list(target) if found.key.endswith(".parquet")]
    rows = sum(footer.rows for footer in read_footers(lake, files))
    if rows != timed.artifact.rows:
        raise RuntimeError(f"{target} has {rows} rows, {timed.artifact.path} has {timed.artifact.rows}")


def _add_timed(report: Report, prefix: str, timed: Sequence[Timed]) -> None:
    stages = defaultdict(list)
    for each in timed:
        for stage, seconds in each.stages.items():
            stages[stage].append(seconds)
    for stage, values in stages.items():
        report.add(f"{prefix}until_{stage}", median(values), "s")
    totals = [each.seconds for each in timed]
    for name, value in (("", median(totals)), ("_min", min(totals)), ("_max", max(totals))):
        report.add(f"{prefix}post_to_callback{name}", value, "s")


def _add_pair(report: Report, name: str, pair: Pair) -> None:
    _add_timed(report, f"{name}_", pair.ours)
    for end, value in (("", median(pair.bare)), ("_min", min(pair.bare)), ("_max", max(pair.bare))):
        report.add(f"{name}_bare{end}", value, "s")
    report.add(f"{name}_of_bare", pair.seconds / median(pair.bare), "times", 1.0)
    report.add(f"{name}_overhead_p50", pair.overhead, "s", MOST_OVERHEAD_SECONDS)
    report.add(f"{name}_records_per_hour", pair.rows / pair.seconds * 3600, "records/h")
    report.add(f"{name}_bare_records_per_hour", pair.rows / median(pair.bare) * 3600, "records/h")


def add_marginal_rates(report: Report, pairs: Mapping[tuple[str, float], Pair]) -> None:
    """What more rows cost, without what a start costs: the bare job's seconds for them by ours."""
    for action, name in ACTIONS.items():
        for small, large in pairwise(pair for (which, _), pair in pairs.items() if which == action):
            more = large.rows - small.rows
            ours, bare = large.seconds - small.seconds, median(large.bare) - median(small.bare)
            report.add(f"{name}_marginal_rate", more / ours * 3600, "records/h")
            report.add(f"{name}_bare_marginal_rate", more / bare * 3600, "records/h")
            # Where noise was larger than what more rows took, nothing was measured, and no target is met.
            ratio = bare / ours if min(bare, ours) > 0 else 0.0
            report.add_least(f"{name}_marginal_rate_of_bare", ratio, "times", LEAST_MARGINAL_RATE)


if __name__ == "__main__":
    sys.exit(main())
