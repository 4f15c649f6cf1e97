"""A client under bad conditions: it submits at a steady rate, repeats what was not answered, cancels and retries some.

Every call that makes something carries an Idempotency-Key, and is repeated with the same one until it is answered.
"""

import asyncio
import io
import random
from dataclasses import dataclass
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from bench.kills.history import Answer, History
from contracts.identity import Coordinate
from contracts.states import State
from contracts.storage import landing_prefix
from resources.lake.store import S3Lake

FILE = "rows.parquet"
VERSION = "v1"
MOST_UNDER_WAY = 8
"""So that a slow machine ends what it has begun in bounded time."""
_PAUSE_SECONDS = 0.5
_CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to one submit, decided by chance beforehand."""

    number: int
    is_repeated: bool
    """It is sent once more although it was answered, as by a client that lost the answer."""
    cancel_after: float | None
    """Seconds."""
    is_retried: bool
    """What was cancelled is asked for again."""

    @classmethod
    def draw(cls, number: int, chance: random.Random) -> "Plan":
        """Decide: one of five is repeated, one of six cancelled, two of three of those asked for again."""
        is_repeated, is_cancelled = chance.random() < 0.2, chance.random() < 1 / 6
        after, is_retried = chance.uniform(0, 20), chance.random() < 2 / 3
        return cls(number, is_repeated, after if is_cancelled else None, is_cancelled and is_retried)


def rows() -> bytes:
    """Return the file that is delivered for every entity: Parquet, which needs no Spark to be read."""
    body = io.BytesIO()
    pq.write_table(pa.table({"number": [1, 2, 3], "word": ["one", "two", "three"]}), body)
    return body.getvalue()


class Producer:
    """Submits ``rate`` processes per second until it is told to stop, each at an entity of its own.

    It pauses while ``MOST_UNDER_WAY`` of them have not ended.
    """

    def __init__(
        self, http: httpx.AsyncClient, landing: S3Lake, history: History, *, callback_url: str, rate: float
    ) -> None:
        self._http = http
        self._landing = landing
        self._history = history
        self._callback_url = callback_url
        self._rate = rate

    async def run(self, stop: asyncio.Event, chance: random.Random) -> None:
        """Submit until ``stop`` is set; return once every call has its answer."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                await _either(stop, 1 / self._rate)
                if self._history.under_way >= MOST_UNDER_WAY:
                    continue
                group.create_task(self._one(Plan.draw(number, chance)))
                number += 1

    async def _one(self, plan: Plan) -> None:
        place = Coordinate(f"site-{plan.number:05d}", VERSION, "rows")
        await asyncio.to_thread(self._landing.put, f"{landing_prefix(place)}{FILE}", rows())
        body = {"entity_id": place.entity_id, "data_version": VERSION, "action": "keep_rows"}
        body["callback_url"] = self._callback_url
        key = f"submit-{plan.number}"
        process_id = (await self._call("submit", key, "", body)).process_id
        if plan.is_repeated:
            await self._call("submit", key, "", body)
        if process_id is None or plan.cancel_after is None:
            return
        await asyncio.sleep(plan.cancel_after)
        await self._call("cancel", process_id, f"/{process_id}:cancel")
        if plan.is_retried and await self._has_failed(process_id):
            await self._call("retry", f"retry-{plan.number}", f"/{process_id}:retry")

    async def _has_failed(self, process_id: str) -> bool:
        """Wait for the end of a cancelled process; whether it ended without success, so that it can be retried."""
        while True:
            state = State((await self._answer("GET", f"/{process_id}")).json()["state"])
            if state.is_terminal:
                return state is not State.SUCCEEDED
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _call(self, call: str, about: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        headers = {} if call == "cancel" else {"Idempotency-Key": about}
        response = await self._answer("POST", path, json=body, headers=headers)
        answer = Answer(call, about, response.status_code, response.json())
        self._history.answers.append(answer)
        return answer

    async def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask until there is an answer that is one: a failure of the server or of the way to it is none."""
        while True:
            try:
                response = await self._http.request(method, f"/v1/processes{path}", timeout=_CALL_SECONDS, **options)
            except httpx.HTTPError as error:
                self._history.lose(type(error).__name__)
            else:
                if response.status_code < 500:
                    return response
                self._history.lose(str(response.status_code))
            await asyncio.sleep(_PAUSE_SECONDS)


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
