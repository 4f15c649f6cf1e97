"""What a server used of the processors is counted with its children, whatever session they are in."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from bench.usage import Meter

CHILD = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ntime.sleep(60)"
PARENT = f"""
import subprocess, sys
sys.stdin.readline()
subprocess.run([sys.executable, '-c', {CHILD!r}], start_new_session=True)
"""


@dataclass
class OneServer:
    """A stack of one server."""

    pid: int

    def status(self) -> list[Any]:
        return [SimpleNamespace(name="server", pid=self.pid)]

    def processes(self, _name: str) -> list[int]:
        return [self.pid]


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()


def test_children_in_sessions_of_their_own_are_counted(server: subprocess.Popen[bytes]) -> None:
    meter = Meter(OneServer(server.pid), {"beside": server.pid})  # type: ignore[arg-type]
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(b"\n")
    server.stdin.flush()
    server.stdout.readline()  # the child has worked
    used = meter.read().of
    assert used["server"] > 0.3
    assert used["beside"] > 0.3
