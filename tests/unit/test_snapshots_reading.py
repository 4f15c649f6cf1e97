"""Reading a commit for the control plane: a lake that hangs costs its asker a wait, and nobody else a thread."""

import asyncio
import threading
from typing import Any

import pytest

from contracts.identity import Coordinate
from control import snapshots
from control.snapshots import FoundCommit, commit_in, read_commit
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


async def test_a_commit_is_parsed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may name 100,000 files: nobody else could be answered meanwhile."""
    parsed_by: list[threading.Thread] = []

    def parse(*given: Any) -> FoundCommit:
        parsed_by.append(threading.current_thread())
        return commit_in(*given)

    monkeypatch.setattr(snapshots, "commit_in", parse)
    lake = MemoryLake()
    lake.commit(PLACE, None)
    found = await read_commit(lake, PLACE)
    assert found is not None
    assert found.commit.coordinate == PLACE
    assert parsed_by != [threading.current_thread()]
    assert len(parsed_by) == 1
