"""The API killed (-9) at each of its crash points: asked again, it gives one answer about one process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from contracts.tenancy import DEFAULT_TENANT, Scope
from control.tables import outbox, processes
from control.tenancy import keys
from tests.integration.conftest import INTERNAL_SECRET
from tests.integration.control_plane import SUBMIT, ControlPlane
from tests.integration.postgres import free_port

pytestmark = pytest.mark.anyio
_START_SECONDS = 60


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
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k-1"}
        return httpx.post(f"http://127.0.0.1:{self.port}/v1/processes", json=SUBMIT, headers=headers, timeout=20)


@pytest.mark.parametrize(("point", "kept"), [("A1", 0), ("A2", 0), ("A3", 1)])
async def test_killed_while_it_accepts(plane: ControlPlane, tmp_path: Path, point: str, kept: int) -> None:
    api = Api(plane, tmp_path, free_port())
    async with plane.db.transaction() as conn:
        key = (await keys.create(conn, DEFAULT_TENANT, list(Scope))).get_secret_value()
    (tmp_path / point).write_text("kill")
    with api.started() as killed:
        with pytest.raises(httpx.TransportError):
            api.submit(key)
        assert killed.wait(10) == -9
    before = await plane.rows(processes)
    assert len(before) == len(await plane.rows(outbox)) == kept
    with api.started():
        answers = [api.submit(key) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].content == answers[1].content
    (row,) = await plane.rows(processes)
    assert str(row["id"]) == answers[0].json()["process_id"]
    assert [each["id"] for each in before] == [row["id"]] * kept
    assert await plane.kinds(row["id"]) == ["accepted"]
