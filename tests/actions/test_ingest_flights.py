"""Flights as they are delivered, and typed."""

from datetime import date

from assets.actions.ingest_flights import ingest_flights
from assets.testing import compute


def test_flights_are_typed() -> None:
    raw = {"year": 2013, "month": 1, "day": 1, "carrier": "UA", "flight": 1545, "dep_time": 517.0}
    (row,) = compute(ingest_flights, flights=[raw])
    assert (row["flight_date"], row["dep_time"], row["arr_time"]) == (date(2013, 1, 1), 517, None)
