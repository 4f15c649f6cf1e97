"""How many requests a tenant may make: a bucket of tokens each, in the memory of one API process."""

import math
import time
from collections.abc import Callable

from contracts.problems import ProblemError
from contracts.tenancy import Tenant

_KEPT = 10_000
"""Buckets at most; when there would be more, all begin anew."""


class Rates:
    """One bucket per tenant. It holds a second's worth, and at least one request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, tenant: Tenant) -> None:
        """Count one request. Raises ProblemError (too_many_requests) with the seconds to wait."""
        rate = tenant.limits.requests_per_second
        if rate is None:
            return
        now, size = self._clock(), max(rate, 1.0)
        left, at = self._buckets.get(tenant.id, (size, now))
        left = min(size, left + (now - at) * rate)
        if left < 1:
            wait = math.ceil((1 - left) / rate)
            raise ProblemError("too_many_requests", f"{rate:g} a second are your tenant's bound", retry_after=wait)
        if len(self._buckets) >= _KEPT:
            self._buckets.clear()
        self._buckets[tenant.id] = (left - 1, now)
