"""Who looks while an architecture computes: which answers are a latency, and which are not."""

import asyncio

import httpx
import pytest

from bench.architectures.looking import Looker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Server:
    """Answers each look with the next of ``statuses``, 0 being no answer, and then with 200; keeps what it answered."""

    def __init__(self, *statuses: int) -> None:
        self.over = asyncio.Event()
        self.answered: list[int] = []
        self._statuses = statuses

    def __call__(self, request: httpx.Request) -> httpx.Response:
        number = len(self.answered)
        self.answered.append(self._statuses[number] if number < len(self._statuses) else 200)
        if len(self.answered) >= len(self._statuses):
            self.over.set()
        if not self.answered[-1]:
            raise httpx.ConnectError("nobody answers", request=request)
        return httpx.Response(self.answered[-1])


async def looked(server: Server, shown: str | None) -> Looker:
    async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://bench") as http:
        looker = Looker(http, shown)
        await looker.look_on_schedule(server.over)
    return looker


async def test_only_an_answer_of_200_has_a_latency() -> None:
    server = Server(404, 404, 200, 401, 429, 500, 0, 404, 200)
    looker = await looked(server, "/v1/processes/1")
    assert (len(looker.latencies), looker.early, looker.failed) == (server.answered.count(200), 2, 5)


async def test_nobody_looks_before_something_is_shown() -> None:
    server = Server()
    asyncio.get_running_loop().call_later(0.3, server.over.set)
    looker = await looked(server, None)
    assert (server.answered, looker.latencies, looker.early, looker.failed) == ([], [], 0, 0)
