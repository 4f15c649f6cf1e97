"""The whole of it: a stack, a producer, a killer, and the verdict. The bench and the test call this."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from bench.kills.checker import Verdict, judge
from bench.kills.history import History, RecordingReceiver
from bench.kills.killer import kill_all
from bench.kills.producer import Producer
from bench.kills.records import Recorder
from bench.kills.stack import light_stack
from bench.stacks import BenchStack
from deploy.local.errors import StackError
from resources.lake.store import S3Lake
from resources.settings import ControlSettings

RATE = 0.2
"""Submits per second; a run costs about three CPU seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen and what is concluded. ``settled_seconds``: from the last kill until everything had its end."""

    history: History
    verdict: Verdict
    settled_seconds: float


def kill_under_load(
    kills: int, seed: int, folder: Path, *, settle_seconds: float, env: Mapping[str, str] | None = None
) -> Outcome:
    """Kill ``kills`` servers of a new stack while requests come in; wait for the end of everything, and judge.

    What has not settled after ``settle_seconds`` is a violation. The stack's state and logs stay in ``folder``, with
    the answers as they came. Raises StackError when a server does not start again.
    """
    history = History()
    with (
        light_stack(folder=folder, env=env) as bench,
        RecordingReceiver(bench.webhook_secret, history) as receiver,
    ):
        with _load(bench, history, receiver.url, seed, settle_seconds):
            kill_all(bench.stack, kills, random.Random(seed), history)  # noqa: S311 - chance is no secret
        recorder = _recorder(bench.settings)
        settled = _settle(recorder, settle_seconds)
        records = asyncio.run(recorder.read())
    (folder / "answers.json").write_text(json.dumps([asdict(answer) for answer in history.answers], indent=1))
    return Outcome(history, judge(history, records), settled)


@contextmanager
def _load(bench: BenchStack, history: History, callback_url: str, seed: int, answer_seconds: float) -> Iterator[None]:
    """Submit while the block runs; leave it when every call has been answered.

    Raises TimeoutError when one is not answered within ``answer_seconds``, and what the producer raises.
    """
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    landing = S3Lake(bench.settings, bench.settings.landing_bucket)

    async def produce() -> None:
        headers = {"authorization": f"Bearer {bench.key}"}
        url = bench.settings.api_url
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:
            producer = Producer(http, landing, history, callback_url=callback_url, rate=RATE)
            await producer.run(stop, random.Random(seed))  # noqa: S311 - chance is no secret

    producing = loop.create_task(produce())
    with closing(loop), ThreadPoolExecutor(1, "producer") as pool:
        thread = pool.submit(loop.run_until_complete, producing)
        try:
            yield
            loop.call_soon_threadsafe(stop.set)
            thread.result(answer_seconds)
        finally:
            loop.call_soon_threadsafe(producing.cancel)  # it changes nothing when all is answered


def _recorder(settings: ControlSettings) -> Recorder:
    if settings.dagster_database_url is None:
        raise StackError("the stack does not say where Dagster's runs are recorded")
    return Recorder(settings.database_url, settings.dagster_database_url, S3Lake(settings, settings.lake_bucket))


def _settle(recorder: Recorder, seconds: float) -> float:
    """Wait until nothing is under way, ``seconds`` at most; return how long that took."""
    began = time.monotonic()
    while asyncio.run(recorder.unsettled()) and time.monotonic() - began < seconds:
        time.sleep(1)
    return time.monotonic() - began
