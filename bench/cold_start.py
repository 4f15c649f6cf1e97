"""From the start of a run's process to Spark, and to the first result: ours against the usual way, in turns.

python -m bench.cold_start [JSON_FILE] [--short]
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

from assets.snapshots.reader import open_snapshot
from bench.report import SHORT, Report
from bench.stacks import BenchStack, bench_stack
from bench.stock.settings import stock_credentials, stock_settings
from cli.demo.landing import land_tpch
from contracts.identity import Coordinate
from contracts.storage import MissingSnapshotError, landing_prefix
from deploy.local.environment import inherited
from deploy.local.site import ROOT
from resources.lake.store import S3Lake

SERVERS = frozenset({"postgres", "s3", "migrations", "orphans", "api"})
"""What a run talks to."""
TURNS = 9
LEAST_RATIO = 2.0
ENTITY, TABLE = "cold", "customer"
_RUN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since the process was started."""

    imported: float
    ready: float
    result: float


def main() -> int:
    """Measure and report."""
    turns = 1 if SHORT in sys.argv else TURNS
    method = (
        f"{turns} turns after one that warms the disk's cache, each with a new process of either kind, and nothing "
        "else at work. Ours: the command of a run pod (orchestration.run_pod, an operator's run of ingest_customer, "
        "1,500 rows of Parquet from S3) with everything that it does before: Dagster's storage, retired and published "
        "looked up, inputs resolved. Stock: the imports of a usual code location (dagster, -postgres, -k8s, -pyspark, "
        "-aws), SparkSession.builder.getOrCreate() with spark.jars and S3A, read.parquet, write.parquet. Imported: "
        "the run's own code begins; ready: the session is there; result: the rows are written, by the magic committer"
    )
    report = Report("cold_start", method)
    with bench_stack(only=SERVERS) as bench:
        ours, stock = _in_turns(bench, turns)
    for name, starts in (("lakemill", ours), ("stock", stock)):
        report.add(f"{name}_imported", median(start.imported for start in starts), "s")
    for what in ("ready", "result"):
        mine, theirs = ([getattr(start, what) for start in starts] for starts in (ours, stock))
        for name, values in (("lakemill", mine), ("stock", theirs)):
            report.add(f"{name}_{what}", median(values), "s")
            report.add(f"{name}_{what}_min", min(values), "s")
            report.add(f"{name}_{what}_max", max(values), "s")
        report.add_least(f"{what}_times_faster", median(theirs) / median(mine), "times", LEAST_RATIO)
    return report.publish(sys.argv[1:])


def _in_turns(bench: BenchStack, turns: int) -> tuple[list[Start], list[Start]]:
    versions = [f"v{turn}" for turn in range(turns + 1)]
    _deliver(bench, versions)
    commands = _commands(bench, versions)
    ours, stock = [], []
    for version, command in zip(versions, commands, strict=True):
        stock.append(_stock(bench, version))
        ours.append(_lakemill(bench, version, command))
    return ours[1:], stock[1:]


def _deliver(bench: BenchStack, versions: list[str]) -> None:
    landing = S3Lake(bench.settings, bench.settings.landing_bucket)
    (made,) = (landed.coordinate for landed in land_tpch(landing, scale=0.01) if landed.coordinate.dataset == TABLE)
    body = landing.get(f"{landing_prefix(made)}{TABLE}.parquet") or b""
    for version in versions:
        landing.put(f"{landing_prefix(Coordinate(ENTITY, version, TABLE))}{TABLE}.parquet", body)


def _commands(bench: BenchStack, versions: list[str]) -> list[dict[str, list[str]]]:
    module = [sys.executable, "-m", "bench.cold_runs", "ingest_customer", ENTITY, *versions]
    return [json.loads(line) for line in _output(module, bench.stack.dagster_env()).splitlines()]


def _lakemill(bench: BenchStack, version: str, run: dict[str, list[str]]) -> Start:
    variables = dict(variable.split("=", 1) for variable in run["variables"])
    began = time.time()
    told = _output(run["command"], {**bench.stack.dagster_env(), **variables})
    lake = S3Lake(bench.settings, bench.settings.lake_bucket)
    try:
        stages = open_snapshot(lake, Coordinate(ENTITY, version, TABLE)).commit.provenance.stages
    except MissingSnapshotError:
        sys.stderr.write(told)
        raise
    return Start(*(stages[stage].timestamp() - began for stage in ("run_started", "spark_ready", "written")))


def _stock(bench: BenchStack, version: str) -> Start:
    settings = json.dumps(stock_settings(bench.settings, ROOT / ".lakemill" / "jars" / "spark"))
    source = f"s3a://{bench.settings.landing_bucket}/{landing_prefix(Coordinate(ENTITY, version, TABLE))}"
    target = f"s3a://{bench.settings.lake_bucket}/stock/{version}/"
    began = time.time()
    command = [sys.executable, "-m", "bench.stock.session", settings, source, target]
    told = json.loads(_output(command, stock_credentials(bench.settings)).splitlines()[-1])
    return Start(*(told[stage] - began for stage in ("imported", "ready", "result")))


def _output(command: list[str], env: dict[str, str]) -> str:
    """Return what a command prints. Raises CalledProcessError."""
    done = subprocess.run(
        command, cwd=ROOT, env=inherited(env), capture_output=True, text=True, check=False, timeout=_RUN_SECONDS
    )
    if done.returncode:
        sys.stderr.write(done.stderr[-3000:])
    done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
