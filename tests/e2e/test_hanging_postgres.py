"""PostgreSQL answers nothing and closes nothing: requests are refused in bounded time, and afterwards all goes on."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from cli.client import ApiClient, ApiError
from contracts.identity import Coordinate
from contracts.states import State
from tests.e2e.world import wait_for
from tests.light_world import LightWorld, light_world

HANG_SECONDS = 30.0
ANSWER_SECONDS = 20.0
"""A statement is given up after 10 s, and its connection within 2 s more; the rest is a busy machine's."""
READERS = 2
RUN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request was answered, and after how long."""

    seconds: float
    status: int
    code: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightWorld]:
    with light_world(tmp_path_factory.mktemp("stack")) as found:
        yield found


def test_requests_are_refused_in_time_and_nothing_is_lost_or_doubled(world: LightWorld) -> None:
    targets = [world.land()]
    under_way = world.submit(targets[0])

    def submit(client: ApiClient) -> None:
        targets.append(world.land())
        client.submit(**request(world, targets[-1]))

    def read(client: ApiClient) -> None:
        client.process(under_way)

    with hanging_postgres(world):
        asked = keep_asking(world, [submit, *[read] * READERS])
        assert not world.is_ready()
    assert {(each.status, each.code) for each in asked} == {(503, "database_unavailable")}
    assert max(each.seconds for each in asked) < ANSWER_SECONDS
    wait_for("the API is ready again", world.is_ready, 30)
    again = [str(world.client.submit(**request(world, target))["process_id"]) for target in targets[1:]]
    assert again, "nothing was submitted meanwhile"
    for process_id, target in zip([under_way, *again], targets, strict=True):
        process = world.finish(process_id, seconds=len(targets) * RUN_SECONDS)
        assert process["state"] == State.SUCCEEDED, process
        world.assert_one_outcome(process_id, target)
    assert len(world.rows("SELECT id FROM processes")) == len(targets)


def keep_asking(world: LightWorld, requests: list[Callable[[ApiClient], None]]) -> list[Answer]:
    """Send each request again and again, all at once, as long as PostgreSQL is to hang; return every answer."""
    until, key = time.monotonic() + HANG_SECONDS, world.client.headers["authorization"].removeprefix("Bearer ")

    def ask(send: Callable[[ApiClient], None]) -> list[Answer]:
        answers = []
        with ApiClient(world.client.url, key) as client:
            while time.monotonic() < until:
                began, status, code = time.monotonic(), 200, ""
                try:
                    send(client)
                except ApiError as refusal:
                    status, code = int(refusal.problem["status"]), refusal.code
                answers.append(Answer(time.monotonic() - began, status, code))
        return answers

    with ThreadPoolExecutor(len(requests)) as pool:
        return [each for answers in pool.map(ask, requests) for each in answers]


def request(world: LightWorld, target: Coordinate) -> dict[str, Any]:
    """Return what is submitted for ``target``, each time under the same key."""
    place = {"entity_id": target.entity_id, "data_version": target.data_version, "action": "keep_rows"}
    return {"request": {**place, "callback_url": world.receiver.url}, "idempotency_key": f"hang-{target.entity_id}"}


@contextmanager
def hanging_postgres(world: LightWorld) -> Iterator[None]:
    """Stop the server and all its backends for the block; connections stay open, and new ones are not answered."""
    leader = psutil.Process(next(row.pid for row in world.stack.status() if row.name == "postgres"))
    leader.send_signal(signal.SIGSTOP)  # first, so that it makes no new backend
    family = [leader, *leader.children(recursive=True)]
    for backend in family[1:]:
        backend.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            process.send_signal(signal.SIGCONT)
