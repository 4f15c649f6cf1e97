"""An open-loop load generator: requests leave on schedule whether or not earlier ones were answered.

Latency counts from the moment a request was due, so that a stalled server cannot hide behind a polite client.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class LoadResult:
    """Latencies in milliseconds of the requests answered with ``expected``; everything else by what came instead."""

    latencies: list[float] = field(default_factory=list)
    other: dict[str, int] = field(default_factory=dict)

    def count_other(self, what: str) -> None:
        """Count one request that was not answered as expected."""
        self.other[what] = self.other.get(what, 0) + 1


async def open_loop(
    url: str, headers: dict[str, str], body: Callable[[int], dict[str, Any]], *, rate: int, seconds: int, expected: int
) -> LoadResult:
    """POST ``rate`` requests per second for ``seconds`` and return what was measured."""
    result = LoadResult()
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=10, trust_env=False) as client:

        async def fire(number: int, due: float) -> None:
            try:
                response = await client.post(url, json=body(number))
            except httpx.HTTPError as error:
                result.count_other(type(error).__name__)
                return
            if response.status_code == expected:
                result.latencies.append((time.perf_counter() - due) * 1000)
            else:
                result.count_other(str(response.status_code))

        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(rate * seconds):
                due = start + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(fire(number, due))
    return result
