"""Reading a commit for the control plane: a lake that hangs costs its asker a wait, and nobody else a thread."""

import asyncio
import threading
import time

import pytest

from contracts.commit import Commit, DataFile
from contracts.identity import Coordinate
from contracts.storage import commit_key
from control.snapshots import read_commit
from resources.lake.store import LakeUnavailableError
from tests.integration.memory_lake import MemoryLake

pytestmark = pytest.mark.anyio
PLACE = Coordinate("e", "v1", "demo")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class HangingLake:
    """A store that accepts a request and says nothing until ``answers`` is set."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def get(self, _key: str) -> bytes | None:
        self.answers.wait(30)
        return None

    def url(self, key: str) -> str:
        return f"s3://lake/{key}"


async def test_a_silent_lake_is_unavailable_after_the_wait_and_holds_up_no_other_thread() -> None:
    lake = HangingLake()
    try:
        asked = [asyncio.create_task(read_commit(lake, PLACE, wait_seconds=0.2)) for _ in range(40)]
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(lambda: "free") == "free"
            answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        lake.answers.set()
    assert all(isinstance(answer, LakeUnavailableError) for answer in answers)
    assert "s3://lake/" in str(answers[0])
    assert await read_commit(lake, PLACE) is None


async def test_a_commit_of_many_files_holds_up_nobody_else_on_the_loop() -> None:
    lake = MemoryLake()
    lake.commit(PLACE, None)
    small = Commit.parse(lake.objects[commit_key(PLACE)], PLACE)
    files = [DataFile(name=f"part-{number:05d}.parquet", size=10, rows=1) for number in range(20_000)]
    body = lake.objects[commit_key(PLACE)] = small.model_copy(update={"files": files}).encode()
    began = time.perf_counter()
    Commit.parse(body, PLACE)
    alone = time.perf_counter() - began

    reading = asyncio.create_task(read_commit(lake, PLACE))
    longest, last = 0.0, time.perf_counter()
    while not reading.done():
        await asyncio.sleep(0)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    found = await reading
    assert found is not None
    assert found.artifact.files == 20_000
    assert longest < alone / 2
