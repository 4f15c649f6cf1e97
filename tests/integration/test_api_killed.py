"""The API killed (-9) at each of its crash points: asked again, it gives one answer about one process."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert

from contracts.tenancy import DEFAULT_TENANT, Scope
from control.tables import entities, outbox, processes
from control.tenancy import keys
from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.postgres import free_port
from tests.integration.waiting import until_waiting

pytestmark = pytest.mark.anyio
_START_SECONDS = 60
IDEMPOTENCY_KEY = "k-1"


@dataclass(frozen=True, slots=True)
class Api:
    """A real API in a process of its own; ``start`` it again after a kill."""

    plane: ControlPlane
    folder: Path
    port: int

    @contextmanager
    def started(self) -> Iterator["subprocess.Popen[bytes]"]:
        environment = {
            **os.environ,
            "LAKEMILL_STATE_DIR": str(self.folder),
            "LAKEMILL_FAULTS_DIR": str(self.folder),
            "LAKEMILL_INTERNAL_SECRET": INTERNAL_SECRET,
            "LAKEMILL_DATABASE_URL": self.plane.settings.database_url.get_secret_value(),
        }
        command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(self.port)]
        process = subprocess.Popen(command, env=environment, stderr=(self.folder / "log").open("ab"))
        try:
            self._wait(process)
            yield process
        finally:
            process.kill()
            process.wait()

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        retrying = httpx.HTTPTransport(retries=5)  # with a growing pause between connections
        while process.poll() is None and time.monotonic() < deadline:
            try:
                with httpx.Client(transport=retrying) as client:
                    if client.get(f"http://127.0.0.1:{self.port}/readyz").is_success:
                        return
            except httpx.ConnectError:
                continue
        raise AssertionError((self.folder / "log").read_text())

    def submit(self, key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": IDEMPOTENCY_KEY}
        return httpx.post(f"http://127.0.0.1:{self.port}/v1/processes", json=SUBMIT, headers=headers, timeout=20)

    def submit_many(self, key: str) -> httpx.Response:
        headers, many = {"Authorization": f"Bearer {key}"}, [{**SUBMIT, "idempotency_key": IDEMPOTENCY_KEY}]
        url = f"http://127.0.0.1:{self.port}/v1/processes:batch"
        return httpx.post(url, json={"processes": many}, headers=headers, timeout=20)


@pytest.mark.parametrize(
    ("point", "call", "kept"), [("A1", Api.submit, 0), ("A2", Api.submit_many, 0), ("A3", Api.submit, 1)]
)
async def test_killed_while_it_accepts(
    plane: ControlPlane, tmp_path: Path, point: str, call: Callable[[Api, str], httpx.Response], kept: int
) -> None:
    api = Api(plane, tmp_path, free_port())
    (tmp_path / point).write_text("kill")
    key = await new_key(plane)
    with api.started() as killed:
        with pytest.raises(httpx.TransportError):
            call(api, key)
        assert killed.wait(10) == -9
    before = await plane.rows(processes)
    assert len(before) == len(await plane.rows(outbox)) == kept
    await repeats_to_one_process(api, key, [each["id"] for each in before])


async def test_killed_while_its_statement_waits(plane: ControlPlane, tmp_path: Path) -> None:
    api = Api(plane, tmp_path, free_port())
    key = await new_key(plane)
    with api.started() as killed:
        async with plane.db.transaction() as holder:
            await holder.execute(insert(entities).values(entity_id=SUBMIT["entity_id"], tenant_id=DEFAULT_TENANT))
            submit = asyncio.create_task(asyncio.to_thread(api.submit, key))
            await until_waiting(plane.db, 1)
            killed.kill()
            with pytest.raises(httpx.TransportError):
                await submit
            await holder.rollback()
        # PostgreSQL goes on with what it was sent: the process is there, and nobody was told.
        async with asyncio.timeout(10):
            while not (made := await plane.rows(processes)):
                pass
    await repeats_to_one_process(api, key, [each["id"] for each in made])


async def new_key(plane: ControlPlane) -> str:
    async with plane.db.transaction() as conn:
        return (await keys.create(conn, DEFAULT_TENANT, list(Scope))).get_secret_value()


async def repeats_to_one_process(api: Api, key: str, kept: list[UUID]) -> None:
    """Start the API again and submit again: there is one process, the one that was ``kept`` where one was."""
    plane = api.plane
    with api.started():
        answers = [api.submit(key) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].content == answers[1].content
    (row,) = await plane.rows(processes)
    assert str(row["id"]) == answers[0].json()["process_id"]
    assert kept in ([], [row["id"]])
    assert await plane.kinds(row["id"]) == ["accepted"]
