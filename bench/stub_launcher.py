"""A run launcher whose runs need no process of their own: a few warm ones execute them all.

``python -m bench.stub_launcher SOCKET`` is their parent. Each does what a run's own process does first
and last, so that Dagster's storage is written as ever; only the start of Python, seconds of it, is left out.
"""

import signal
import socket
import sys
from collections.abc import Mapping
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self

from dagster import DagsterInstance
from dagster._cli.api import _execute_run_command_body
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

_AT_ONCE = 4


class StubRunLauncher(RunLauncher, ConfigurableClass):
    """Hands the ids of runs to the process that listens at ``address``, a socket in the file system."""

    def __init__(self, address: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """See ConfigurableClass."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return the one option."""
        return {"address": str}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the launcher from dagster.yaml."""
        return cls(config_value["address"], inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Send the id."""
        self._socket.sendto(context.dagster_run.run_id.encode(), self._address)

    def terminate(self, run_id: str) -> bool:  # noqa: ARG002 - Dagster's interface
        """Refuse: runs are over within a moment."""
        return False


def main(address: Path) -> None:
    """Execute every run whose id arrives, until killed. The socket is there once it can."""
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    import_module("bench.stub_location")  # once, before the fork
    workers = [get_context("fork").Process(target=_work, args=(inbox,), daemon=True) for _ in range(_AT_ONCE)]
    for worker in workers:
        worker.start()

    def end(*_: object) -> None:
        for worker in workers:
            worker.kill()  # a run that is interrupted would only tell of it
        sys.exit()

    signal.signal(signal.SIGTERM, end)
    inbox.bind(str(address))
    wait([worker.sentinel for worker in workers])
    end()  # without one of them, what it was sent is lost: nobody listens any more, and the daemon is told so


def _work(inbox: socket.socket) -> None:
    # Like a run's own process: a child of another one, with a storage of its own (orchestration/storage.py).
    with DagsterInstance.get() as instance:
        while True:
            _execute_run_command_body(inbox.recv(100).decode(), instance, lambda _: None, False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
