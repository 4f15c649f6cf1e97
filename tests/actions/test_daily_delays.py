"""Delays by day and carrier."""

from datetime import date

from assets.actions.daily_delays import daily_delays
from assets.testing import compute

DAY = date(2013, 1, 1)


def test_cancelled_flights_are_counted() -> None:
    flown = {"flight_date": DAY, "carrier": "UA", "dep_time": 517, "dep_delay": 2, "arr_delay": 11}
    cancelled = {"flight_date": DAY, "carrier": "UA"}
    (row,) = compute(daily_delays, flights=[flown, flown | {"dep_delay": 4}, cancelled])
    assert (row["flights"], row["cancelled"], row["mean_dep_delay"], row["max_arr_delay"]) == (3, 1, 3.0, 11)
