"""``POST /v1/processes`` under an open-loop load, with the whole control plane on the same machine.

python -m bench.submit [JSON_FILE] [--short]
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import httpx
from sqlalchemy import text

from bench.load import Load, LoadResult, send
from bench.postgres import Postgres
from bench.report import SHORT, Report, percentile
from bench.stacks import CONTROL_PLANE, BenchStack, bench_stack
from bench.stub_runs import ACTION
from bench.usage import Meter, Usage
from deploy.local.environment import inherited
from deploy.local.site import ROOT

RATE, FLOOR_RATE = 300, 200
RUNS = 5
SECONDS, WARM_UP_SECONDS = 60, 5
_START_SECONDS, _POLL_SECONDS = 60.0, 0.5
P95_MS, P99_MS, FLOOR_P95_MS = 15.0, 45.0, 45.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One minute of load, and what else goes on meanwhile."""

    name: str
    rate: int
    p95_ms: float
    p99_ms: float | None
    meanwhile: Callable[[BenchStack], AbstractContextManager[object]]


@contextmanager
def _without(bench: BenchStack, server: str) -> Iterator[None]:
    bench.stack.kill(server)
    bench.stack.wait_dead(server)
    try:
        yield
    finally:
        bench.stack.restart(server)


@contextmanager
def _stub_runner(bench: BenchStack) -> Iterator[None]:
    """Let everything that is released be launched, run, committed and succeed, ``RUNS`` a second."""
    env = inherited({**bench.stack.env(), "LAKEMILL_STATE_DIR": str(bench.stack.state_dir)})
    command = (sys.executable, "-m", "bench.stub_runs", str(RUNS))
    with bench.stack.logs.of("stub-runs").open("wb") as log:
        runner = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)
    try:
        _wait_for_success(bench)
        yield
    finally:
        runner.terminate()
        runner.wait(10)


def _wait_for_success(bench: BenchStack) -> None:
    """Return once a process has succeeded; what starts takes processors until then. Raises TimeoutError."""
    give_up_at = time.monotonic() + _START_SECONDS
    while not asyncio.run(_succeeded(bench)):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"no process has succeeded within {_START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


SCENARIOS = (
    Scenario("floor", FLOOR_RATE, FLOOR_P95_MS, None, lambda _: nullcontext()),
    Scenario("kafka_up", RATE, P95_MS, P99_MS, lambda _: nullcontext()),
    Scenario("kafka_stopped", RATE, P95_MS, P99_MS, lambda bench: _without(bench, "kafka")),
    Scenario("releasing", RATE, P95_MS, P99_MS, _stub_runner),
)


def main() -> int:
    """Measure and report."""
    seconds, warm_up = (2, 1) if SHORT in sys.argv else (SECONDS, WARM_UP_SECONDS)
    method = (
        f"open loop, each scenario {seconds} s after {warm_up} s of warm-up; every request is a new process at a new "
        "entity; load generator (a process of its own), API, worker, PostgreSQL, Kafka and S3 share the machine; "
        "latency from the moment a request was due; CPU is user and system time per request. Up to 200 processes are "
        f"released; in 'releasing' a runner without Spark also takes {RUNS} a second all the way to a commit"
    )
    report = Report("submit", method)
    with bench_stack(only=CONTROL_PLANE) as bench:
        _count_statements(bench, report)
        for scenario in SCENARIOS:
            with scenario.meanwhile(bench):
                _submit(bench, scenario.rate, warm_up)
                succeeded, meter = asyncio.run(_succeeded(bench)), Meter(bench.stack)
                result = _submit(bench, scenario.rate, seconds)
                used, ran = meter.read(), asyncio.run(_succeeded(bench)) - succeeded
            _add(report, scenario, result, used)
            report.add(f"{scenario.name}_succeeded", ran / used.seconds * 60, "processes/min")
    return report.publish(sys.argv[1:])


def _submit(bench: BenchStack, rate: int, seconds: int) -> LoadResult:
    version = f"bench-{time.time_ns()}"
    bodies = [
        {"entity_id": f"{version}-{number:06d}", "data_version": version, "action": ACTION}
        for number in range(rate * seconds)
    ]
    headers = {"Authorization": f"Bearer {bench.key}"}
    return send(Load(f"{bench.settings.api_url}/v1/processes", headers, bodies, rate, expected=202))


def _add(report: Report, scenario: Scenario, result: LoadResult, used: Usage) -> None:
    name, count = scenario.name, max(len(result.latencies), 1)
    if result.latencies:
        report.add(f"{name}_p50", percentile(result.latencies, 0.50), "ms")
        report.add(f"{name}_p95", percentile(result.latencies, 0.95), "ms", scenario.p95_ms)
        report.add(f"{name}_p99", percentile(result.latencies, 0.99), "ms", scenario.p99_ms)
        report.add(f"{name}_max", max(result.latencies), "ms")
    report.add(f"{name}_rate", scenario.rate, "requests/s")
    report.add(f"{name}_not_accepted", sum(result.other.values()), "requests", target=0)
    if result.other:
        print(f"{name}: not accepted were {dict(result.other)}", file=sys.stderr)
    for server in ("api", "postgres", "worker"):
        report.add(f"{name}_{server}_cpu", used.of[server] / count * 1000, "ms/request")
    report.add(f"{name}_generator_cpu", result.cpu_seconds / count * 1000, "ms/request")
    report.add(f"{name}_machine_elsewhere", used.elsewhere, "%")


async def _succeeded(bench: BenchStack) -> int:
    async with Postgres(bench.stack).database("lakemill") as db, db.reading() as conn:
        return int(await conn.scalar(text("SELECT count(*) FROM processes WHERE state = 'succeeded'")) or 0)


def _count_statements(bench: BenchStack, report: Report) -> None:
    """What one submit at a new entity asks of PostgreSQL, once every pooled connection has been used."""
    headers, count = {"Authorization": f"Bearer {bench.key}"}, 20
    place = {"data_version": f"counted-{time.time_ns()}", "action": ACTION}
    with httpx.Client(base_url=bench.settings.api_url, headers=headers, trust_env=False) as client:

        def submit(number: int) -> None:
            client.post("/v1/processes", json={**place, "entity_id": f"counted-{number}"}).raise_for_status()

        for number in range(count):
            submit(number)
        with _without(bench, "worker"), Postgres(bench.stack).statements() as sent:
            for number in range(count, 2 * count):
                submit(number)
    report.add("statements_per_submit", len(sent) / count, "statements")


if __name__ == "__main__":
    sys.exit(main())
