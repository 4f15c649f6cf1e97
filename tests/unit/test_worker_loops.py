"""Loops survive outages, end at mistakes, finish their step when asked to stop, and tell that they are alive."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from contracts.problems import LakemillError
from control.loops import STUCK_SECONDS, Loop, Pulse, run_loops

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OutageError(LakemillError):
    retriable = True


class Steps:
    """A step that does what each of ``results`` says, and then stops the worker."""

    def __init__(self, stop: asyncio.Event, *results: int | Exception) -> None:
        self.stop = stop
        self.results = list(results)
        self.done = 0

    async def __call__(self) -> int:
        self.done += 1
        if not self.results:
            self.stop.set()
            return 0
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


async def test_a_loop_goes_on_at_once_while_there_is_work() -> None:
    stop = asyncio.Event()
    steps = Steps(stop, *[1] * 50)
    async with asyncio.timeout(2):
        await run_loops([Loop("busy", steps, interval=60)], stop)
    assert steps.done == 51


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends() -> None:
    stop = asyncio.Event()
    steps = Steps(stop, OutageError("Kafka is away"), OutageError("Kafka is away"), OutageError("Kafka is away"), 1)
    with capture_logs() as logs:
        await run_loops([Loop("release", steps, interval=0.01)], stop)
    told = [(line["event"], line["loop"]) for line in logs if "loop" in line]
    assert told == [("loop.outage", "release"), ("loop.recovered", "release")]


async def test_an_outage_of_one_loop_does_not_stop_another() -> None:
    stop = asyncio.Event()
    other = Steps(stop, *[0] * 20)
    failing = Steps(asyncio.Event(), *[OutageError("away")] * 1000)
    await run_loops([Loop("a", failing, interval=0.01), Loop("b", other, interval=0.01)], stop)
    assert other.done == 21


async def test_a_mistake_ends_the_worker_and_names_the_loop() -> None:
    stop = asyncio.Event()
    finished: list[str] = []

    async def finish() -> None:
        finished.append("other")

    async def idle() -> int:
        return 0

    loops = [Loop("broken", Steps(stop, KeyError("x")), 1), Loop("other", idle, 60, finish)]
    with capture_logs() as logs, pytest.raises(KeyError):
        await run_loops(loops, stop)
    assert [line["loop"] for line in logs if line["event"] == "loop.crashed"] == ["broken"]
    assert finished == ["other"]


async def test_what_no_repetition_mends_ends_the_worker_too() -> None:
    stop = asyncio.Event()
    loop = Loop("a", Steps(stop, LakemillError("wrong key")), 1)
    with pytest.raises(LakemillError, match="wrong key"):
        await run_loops([loop], stop)


async def test_stopping_lets_the_step_end_and_then_cuts_off() -> None:
    stop = asyncio.Event()
    ended: list[str] = []

    async def slow() -> int:
        stop.set()
        await asyncio.sleep(0.2)
        ended.append("slow")
        return 1

    async def endless() -> int:
        await asyncio.sleep(60)
        ended.append("endless")
        return 1

    began = time.monotonic()
    await run_loops([Loop("slow", slow, 1), Loop("endless", endless, 1)], stop, grace_seconds=0.5)
    assert ended == ["slow"]
    assert time.monotonic() - began < 2


async def test_the_heartbeat_begins_when_every_loop_has_run(tmp_path: Path) -> None:
    stop, gate = asyncio.Event(), asyncio.Event()
    file = tmp_path / "heartbeat"

    async def gated() -> int:
        await gate.wait()
        return 0

    async def watch() -> int:
        if file.exists():
            stop.set()
        return 0

    async def open_gate() -> None:
        await asyncio.sleep(1.2)
        assert not file.exists()
        gate.set()

    async with asyncio.timeout(10):
        loops = [Loop("gated", gated, 0.05), Loop("watch", watch, 0.05)]
        await asyncio.gather(run_loops(loops, stop, file), open_gate())
    assert file.exists()


def test_a_loop_that_is_stuck_stops_the_heartbeat() -> None:
    now = 0.0
    pulse = Pulse(["a", "b"], None, clock=lambda: now)
    pulse.beat("a")
    assert not pulse.is_well()
    pulse.beat("b")
    assert pulse.is_well()
    now = STUCK_SECONDS - 1
    pulse.beat("a")
    assert pulse.is_well()
    now = STUCK_SECONDS + 1
    assert not pulse.is_well()
