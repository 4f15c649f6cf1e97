"""How long a commit may be on its way: what ends, retires, rebuilds or collects waits that long for it."""

from datetime import timedelta

from contracts.reports import COMMIT_DELIVERY_SECONDS
from resources.settings import ControlSettings


def delivery_grace(settings: ControlSettings) -> timedelta:
    """Return how long after a permit's end a commit that was sent in time may still appear."""
    return timedelta(seconds=settings.clock_skew_seconds + COMMIT_DELIVERY_SECONDS)


def commit_wait(settings: ControlSettings) -> timedelta:
    """Return after how long the store has refused, or stored, every commit that is signed now."""
    return timedelta(seconds=settings.permit_seconds) + delivery_grace(settings)
