"""``POST /v1/processes`` under an open-loop load, with the whole control plane on the same machine.

python -m bench.submit [JSON_FILE]
"""

import asyncio
import sys
import time
from typing import Any

from bench.load import open_loop
from bench.report import Report, percentile
from bench.stacks import CONTROL_PLANE, bench_stack

RATE, SECONDS, WARM_UP_SECONDS = 100, 60, 5


def main() -> int:
    """Measure and report."""
    with bench_stack(only=CONTROL_PLANE) as bench:
        headers = {"authorization": f"Bearer {bench.key}"}
        url = f"{bench.settings.api_url}/v1/processes"
        version = f"bench-{time.time_ns()}"

        def body(number: int) -> dict[str, Any]:
            return {"entity_id": f"site-{number:06d}", "data_version": version, "action": "ingest_orders"}

        def warm(number: int) -> dict[str, Any]:
            return {**body(number), "data_version": f"{version}-warm"}

        asyncio.run(open_loop(url, headers, warm, rate=RATE, seconds=WARM_UP_SECONDS, expected=202))
        result = asyncio.run(open_loop(url, headers, body, rate=RATE, seconds=SECONDS, expected=202))
    method = (
        f"open loop, {RATE} requests/s for {SECONDS} s after {WARM_UP_SECONDS} s of warm-up; every request is a new "
        "process; load generator, API, worker, PostgreSQL, Kafka and S3 share the machine; latency from the due time"
    )
    report = Report("submit", method)
    for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99)):
        report.add(f"submit_{name}", percentile(result.latencies, share), "ms")
    report.add("submit_max", max(result.latencies), "ms")
    report.add("accepted", len(result.latencies), "requests")
    report.add("not_accepted", sum(result.other.values()), "requests", target=0)
    return report.publish(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
