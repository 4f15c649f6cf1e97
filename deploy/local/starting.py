"""Bringing servers up in dependency order: each as soon as what it needs is ready, never after a fixed time."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from threading import Event, Lock

from deploy.local.errors import ServerFailedError, StackError
from deploy.local.records import Records, ServerRecord
from deploy.local.server import Logs, Server, Step, describe, spawn
from deploy.local.site import ROOT
from deploy.local.status import ServerStatus, State

Progress = Callable[[ServerStatus], None]
_POLL = 0.1


class StartCancelledError(StackError):
    """The start was given up because another server failed, or the user asked to stop."""


@dataclass(slots=True)
class Starter:
    """Starts servers and steps, and keeps hold of the processes so that they can be reaped."""

    records: Records
    logs: Logs
    env: Mapping[str, str]
    children: dict[str, subprocess.Popen[bytes]]
    progress: Progress
    _cancelled: Event = field(default_factory=Event)
    _telling: Lock = field(default_factory=Lock)

    def start_all(self, nodes: Sequence[Server | Step]) -> None:
        """Start everything. Raises the first failure, after every start that was under way has given up."""
        by_name = {node.name: node for node in nodes}
        order = TopologicalSorter({node.name: [need for need in node.needs if need in by_name] for node in nodes})
        order.prepare()
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(max_workers=len(nodes), thread_name_prefix="start") as pool:
            try:
                while order.is_active():
                    running |= {pool.submit(self.start, by_name[name]): name for name in order.get_ready()}
                    done, _ = wait(running, timeout=_POLL, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                        order.done(running.pop(future))
            except BaseException:
                self._cancelled.set()
                raise

    def start(self, node: Server | Step) -> None:
        """Start one server and wait until it is ready, or run one step to its end. Raises ServerFailedError."""
        begun = time.monotonic()
        self._tell(ServerStatus(node.name, State.STARTING, _address(node), str(self.logs.of(node.name))))
        start = self._start_server(node, begun) if isinstance(node, Server) else self._run_step(node, begun)
        self._tell(start)

    def _start_server(self, server: Server, begun: float) -> ServerStatus:
        server.prepare()
        process = self._spawn(server)
        record = describe(server, process.pid, self.logs)
        self.records.write(record)
        self._wait(server, process, lambda: server.is_ready(record.started_at))
        server.settle()
        ready: ServerRecord = replace(record, ready_seconds=round(time.monotonic() - begun, 1))
        self.records.write(ready)
        return ServerStatus(server.name, State.UP, server.address, record.log, record.pid, ready.ready_seconds)

    def _run_step(self, step: Step, begun: float) -> ServerStatus:
        process = self._spawn(step)
        try:
            self._wait(step, process, lambda: process.poll() == 0)
        finally:
            process.kill()
            process.wait()
        seconds = round(time.monotonic() - begun, 1)
        return ServerStatus(step.name, State.DONE, "", str(self.logs.of(step.name)), None, seconds)

    def _spawn(self, node: Server | Step) -> subprocess.Popen[bytes]:
        if self._cancelled.is_set():
            raise StartCancelledError(f"{node.name} was not started")
        process = spawn(node, self.env, ROOT, self.logs)
        self.children[node.name] = process
        return process

    def _wait(self, node: Server | Step, process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + node.deadline
        while not is_ready():
            code = process.poll()
            if code:  # a step that ended with 0 is ready; a server never ends with it while starting
                raise self._failed(node, f"ended with exit code {code} while starting")
            if code == 0 and isinstance(node, Server):
                raise self._failed(node, "ended while starting")
            if time.monotonic() > deadline:
                raise self._failed(node, f"was not ready after {node.deadline:.0f} s")
            if self._cancelled.wait(_POLL):
                raise StartCancelledError(f"{node.name} was given up")

    def _tell(self, status: ServerStatus) -> None:
        with self._telling:  # servers start in threads, and a callback need not know
            self.progress(status)

    def _failed(self, node: Server | Step, reason: str) -> ServerFailedError:
        error = ServerFailedError(node.name, reason, self.logs.of(node.name), self.logs.tail(node.name))
        self._tell(ServerStatus(node.name, State.DEAD, _address(node), str(self.logs.of(node.name))))
        return error


def _address(node: Server | Step) -> str:
    return node.address if isinstance(node, Server) else ""
