"""Seconds per stage of one process, from POST to callback, cold: each process is a run of its own with its own Spark.

python -m bench.process [JSON_FILE]
"""

import sys
import time
from collections import defaultdict
from statistics import median

from bench.report import Report
from bench.stacks import BenchStack, bench_stack
from cli.client import ApiClient
from cli.demo.landing import Landed, land_flights
from cli.demo.receiver import CallbackReceiver
from resources.lake.store import S3Lake

PROCESSES = 5


def main() -> int:
    """Measure and report."""
    with bench_stack() as bench:
        landing = S3Lake(bench.settings, bench.settings.landing_bucket)
        deliveries = list(land_flights(landing, whole_year=False))[:PROCESSES]
        with CallbackReceiver(bench.webhook_secret) as receiver, ApiClient(bench.settings.api_url, bench.key) as client:
            totals, stages = _measure(bench, deliveries, client, receiver)
    rows = sorted(landed.rows for landed in deliveries)
    method = (
        f"{PROCESSES} processes of ingest_flights, one after the other, {rows[0]:,} to {rows[-1]:,} rows of CSV each; "
        "medians; every server of the embedded stack on the same machine"
    )
    report = Report("process", method)
    for stage, seconds in stages.items():
        report.add(f"until_{stage}", median(seconds), "s")
    report.add("post_to_callback", median(totals), "s")
    report.add("post_to_callback_min", min(totals), "s")
    report.add("post_to_callback_max", max(totals), "s")
    return report.publish(sys.argv[1:])


def _measure(
    bench: BenchStack, deliveries: list[Landed], client: ApiClient, receiver: CallbackReceiver
) -> tuple[list[float], dict[str, list[float]]]:
    totals: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    for landed in deliveries:
        place = landed.coordinate
        request = {"entity_id": place.entity_id, "data_version": place.data_version, "action": "ingest_flights"}
        started = time.monotonic()
        process_id = client.submit({**request, "callback_url": receiver.url})["process_id"]
        callback = receiver.callbacks.get(timeout=300)
        totals.append(time.monotonic() - started)
        if callback.data.artifact is None:
            raise RuntimeError(f"{place} failed: {callback.data.reason}; see {bench.stack.state_dir}")
        _wait_for_mark(client, process_id)
        for entry in client.process(process_id)["timeline"]:
            stages[entry["stage"]].append(entry["seconds"])
    return totals, stages


def _wait_for_mark(client: ApiClient, process_id: str) -> None:
    """Return once the delivery is marked: the last stage of the timeline. Raises TimeoutError after ten seconds."""
    deadline = time.monotonic() + 10
    while (client.process(process_id)["callback"] or {}).get("state") != "delivered":
        if time.monotonic() > deadline:
            raise TimeoutError(f"the callback of {process_id} came and is not marked")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
