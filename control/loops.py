"""A worker's loops: each does one step again and again, waits when there is nothing to do, and survives outages.

What is retriable (an outage) is logged when it begins and when it ends, and the step is tried again with backoff. Any
other error is a mistake that no repetition mends: it ends the worker, visibly, and whoever runs it starts a new one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import structlog

from contracts.problems import LakemillError

log = structlog.get_logger(__name__)

GRACE_SECONDS = 10.0
STUCK_SECONDS = 180.0
STEP_SECONDS = 60.0
"""A step that asks others one by one, who may be slow, leaves the rest for the next one after so long."""
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 10.0
_BEAT_SECONDS = 1.0


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop: ``step`` returns how much it did; 0 means wait ``interval`` seconds. ``finish`` ends it in order."""

    name: str
    step: Callable[[], Awaitable[int]]
    interval: float
    finish: Callable[[], Awaitable[None]] = _nothing


class Pulse:
    """When each loop last ended a step, well or in an outage; and the file that tells."""

    def __init__(self, names: Sequence[str], file: Path | None, *, clock: Callable[[], float] = monotonic) -> None:
        self._last: dict[str, float | None] = dict.fromkeys(names)
        self._file = file
        self._clock = clock

    def beat(self, name: str) -> None:
        """Note that the loop ``name`` has ended a step."""
        self._last[name] = self._clock()

    def is_well(self) -> bool:
        """Whether every loop has run, and none has been in one step for ``STUCK_SECONDS``."""
        now = self._clock()
        return all(last is not None and now - last < STUCK_SECONDS for last in self._last.values())

    async def tell(self) -> None:
        """Touch the file each second while all is well; for the first time as soon as it is."""
        while self._file is not None:
            is_well = self.is_well()
            if is_well:
                self._file.touch()
            await asyncio.sleep(_BEAT_SECONDS if is_well else _BEAT_SECONDS / 10)


async def run_loops(
    loops: Sequence[Loop], stop: asyncio.Event, heartbeat: Path | None = None, *, grace_seconds: float = GRACE_SECONDS
) -> None:
    """Run all loops until ``stop`` is set or one of them fails; then let steps end within ``grace_seconds``.

    Raises the error of the loop that failed.
    """
    pulse = Pulse([loop.name for loop in loops], heartbeat)
    tasks = [asyncio.create_task(_supervise(loop, stop, pulse), name=loop.name) for loop in loops]
    telling = asyncio.create_task(pulse.tell())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=grace_seconds)
        if late:
            log.warning("worker.cut_off", loops=sorted(task.get_name() for task in late))
    finally:
        for task in (*tasks, telling, stopping):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _supervise(loop: Loop, stop: asyncio.Event, pulse: Pulse) -> None:
    failures = 0
    try:
        while not stop.is_set():
            did, error = await _attempt(loop)
            pulse.beat(loop.name)
            if error is None:
                if failures:
                    log.info("loop.recovered", loop=loop.name, failures=failures)
                failures = 0
                pause = 0.0 if did else loop.interval
            else:
                failures += 1
                if failures == 1:
                    log.error("loop.outage", loop=loop.name, error=str(error))
                pause = max(loop.interval, min(_FIRST_BACKOFF * 2 ** min(failures - 1, 10), _LONGEST_BACKOFF))
            await _wait(stop, pause)
        await loop.finish()
    except LakemillError as error:
        if not error.retriable:
            log.critical("loop.crashed", loop=loop.name, exc_info=error)
            raise
        log.warning("loop.unfinished", loop=loop.name, error=str(error))
    except Exception as error:
        log.critical("loop.crashed", loop=loop.name, exc_info=error)
        raise


async def _attempt(loop: Loop) -> tuple[int, LakemillError | None]:
    try:
        return await loop.step(), None
    except LakemillError as error:
        if not error.retriable:
            raise
        return 0, error


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
