"""Somebody who looks at the newest request while all is computed, on schedule, whether or not answers have come."""

import asyncio
from dataclasses import dataclass, field

import httpx

LOOKS_PER_SECOND = 10


@dataclass
class Looker:
    """Looks at the path ``shown``, once there is one. Only an answer of 200 has a latency, in milliseconds."""

    http: httpx.AsyncClient
    shown: str | None = None
    latencies: list[float] = field(default_factory=list)
    early: int = 0
    """404 at a path that had not answered 200 yet: what was asked for is not there so soon."""
    failed: int = 0
    """Every other answer, and none."""
    _found: set[str] = field(default_factory=set)

    async def look_on_schedule(self, over: asyncio.Event) -> None:
        """Look until all is over and answered; a latency counts from when a look was due."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                due += 1 / LOOKS_PER_SECOND
                await asyncio.sleep(max(0.0, due - loop.time()))
                if self.shown is not None:
                    group.create_task(self._look(self.shown, due))

    async def _look(self, path: str, due: float) -> None:
        was_found = path in self._found
        try:
            status = (await self.http.get(path)).status_code
        except httpx.TransportError:
            status = 0
        if status == 200:
            self._found.add(path)
            self.latencies.append((asyncio.get_running_loop().time() - due) * 1000)
        elif status == 404 and not was_found:
            self.early += 1
        else:
            self.failed += 1
