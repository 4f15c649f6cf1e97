"""``/metrics`` in Prometheus's text format: this process's requests, and how the control plane stands.

No label names a tenant, an entity or an id.
"""

from collections.abc import Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from control.gauges import Gauges

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELP = {
    "processes": "Processes that have not ended.",
    "in_flight": "Processes released and not ended.",
    "waiting": "Processes that wait for their release.",
    "waiting_seconds": "For how long the oldest of them could have been released.",
    "callbacks_pending": "Callbacks that are still to be delivered.",
    "callbacks_overdue_seconds": "For how long the oldest of them has been due.",
    "callbacks_exhausted": "Callbacks that were given up.",
    "backfills": "Backfills at work.",
    "dead_letters": "Records that could not be taken in.",
    "log_gaps": "Places where the log dropped records before they were read.",
    "sensor_silent_seconds": "Since Dagster's sensor last told where it is in the log.",
}
_SECONDS = (0.005, 0.01, 0.015, 0.025, 0.045, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Counts the requests that one process of the API has answered."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._count = Counter("lakemill_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "lakemill_request_seconds", "Their time.", labels[:2], registry=self.registry, buckets=_SECONDS
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answer. ``route`` is the path as it was declared, so that labels are few."""
        self._count.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)


def page(requests: RequestMetrics, found: Gauges | None) -> bytes:
    """Return the page; without the control plane's part, and ``lakemill_database_up 0``, when ``found`` is None."""
    registry = CollectorRegistry()
    Gauge("lakemill_database_up", "Whether PostgreSQL answered.", registry=registry).set(found is not None)
    if found is not None:
        _state(registry, found)
    return generate_latest(requests.registry) + generate_latest(registry)


def _state(registry: CollectorRegistry, found: Gauges) -> None:
    for each in fields(found):
        value: float | Mapping[str, int] = getattr(found, each.name)
        name, told = f"lakemill_{each.name}", _HELP[each.name]
        if isinstance(value, Mapping):
            gauge = Gauge(name, told, ["state"], registry=registry)
            for state, count in value.items():
                gauge.labels(state).set(count)
        else:
            Gauge(name, told, registry=registry).set(value)
