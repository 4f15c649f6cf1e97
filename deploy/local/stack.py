"""The embedded stack as one object, ``Stack(state_dir).start()``. All it knows lies in files: any process may ask."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from deploy.jars.java import find_java
from deploy.jars.retrieve import differences, present_sums, read_sums
from deploy.local.dagster import DagsterServers
from deploy.local.environment import ENV_FILE, inherited, java_home, read_env, write_env
from deploy.local.errors import AlreadyRunningError, HalfWrittenStateError, StackError, UnknownServerError
from deploy.local.lock import command_lock
from deploy.local.plan import SERVER_NAMES, plan
from deploy.local.ports import HOST, PortBlock
from deploy.local.records import Records, ServerRecord, leader, members
from deploy.local.server import Logs
from deploy.local.site import DEFINITIONS, CompleteFolder, Site
from deploy.local.starting import Progress, Starter
from deploy.local.status import ServerStatus, State
from deploy.local.stopping import stop, stop_all

DEFAULT_BASE_PORT = 8400
_PORT_SECONDS = 10.0
_STATE = ("run", "logs", "postgres", "kafka", "s3", "dagster", "worker.heartbeat", ENV_FILE)
"""What ``purge`` removes: everything but the jars, which are no state."""


class Stack:
    """One embedded stack: servers below ``state_dir`` on sixteen ports from ``base_port`` (default: as last time).

    They listen at ``host``, an address of this machine; by default at the loopback one, which nobody else reaches.

    ``extra_env`` is added to every server's environment; a test uses it to arm faults. ``definitions`` is the module
    that the code location serves.
    """

    def __init__(
        self,
        state_dir: Path,
        base_port: int | None = None,
        *,
        host: str | None = None,
        jars_dir: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        definitions: str = DEFINITIONS,
    ) -> None:
        self.state_dir = state_dir.absolute()
        last = read_env(self.state_dir)
        base = base_port or int(last.get("LAKEMILL_BASE_PORT") or DEFAULT_BASE_PORT)
        self.ports = PortBlock(base, host or last.get("LAKEMILL_HOST") or HOST)
        self.logs = Logs(self.state_dir / "logs")
        self._jars_dir = (jars_dir or self.state_dir / "jars").absolute()
        self._extra_env = dict(extra_env or {})
        self._definitions = definitions
        self._records = Records(self.state_dir)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, progress: Progress = lambda _: None, *, only: Collection[str] | None = None) -> None:
        """Start every server (or ``only`` those named) and return when all are ready; stop all again on any failure.

        Raises AlreadyRunningError, PortTakenError, HalfWrittenStateError, JavaMissingError, JarsError,
        ServerFailedError.
        """
        with command_lock(self.state_dir):
            self._refuse_second_start()
            self.ports.check_free()
            site = self._site()
            nodes = [node for node in plan(site) if only is None or node.name in only]
            try:
                self._starter(site, progress).start_all(nodes)
            except BaseException:
                stop_all(self._records, self.state_dir, reap=self._reap)
                for folder in self._folders():
                    folder.discard_unfinished()  # begun by this start, so nothing in it was ever used
                raise

    def stop(self) -> None:
        """Stop everything within 15 s and leave no process, whatever started it. Raises AlreadyRunningError."""
        with command_lock(self.state_dir):
            stop_all(self._records, self.state_dir, reap=self._reap)

    def purge(self) -> None:
        """Stop everything and remove all state: databases, records, objects, secrets. The jars stay."""
        with command_lock(self.state_dir):
            stop_all(self._records, self.state_dir, reap=self._reap)
            for path in (self.state_dir / name for name in _STATE):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def restart(self, name: str, progress: Progress = lambda _: None) -> None:
        """Stop one server if it lives, and start it. Raises UnknownServerError, StackError when no stack is up."""
        with command_lock(self.state_dir):
            self._stop_one(self._record(name))
            self._wait_for_ports(name)
            self.ports.check_free(name)
            site = self._site()
            (server,) = (node for node in plan(site) if node.name == name)
            try:
                self._starter(site, progress).start(server)
            except BaseException:
                if record := self._records.read(name):
                    self._stop_one(record)
                raise

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the server's own process only, as an accident would."""
        os.kill(self._record(name).pid, number)

    def wait_dead(self, name: str, seconds: float = 10.0) -> None:
        """Return once the server's own process has ended. Raises StackError after ``seconds``."""
        record, deadline = self._record(name), time.monotonic() + seconds
        while leader(record):
            if time.monotonic() > deadline:
                raise StackError(f"{name} still lives after {seconds:.0f} s.")
            self._reap()
            time.sleep(0.02)

    def processes(self, name: str) -> list[int]:
        """Return the ids of all living processes of a server's session: its own, run workers, JVMs."""
        return [process.pid for process in members(self._record(name))]

    def status(self) -> list[ServerStatus]:
        """Return one row for each server, in the order of the plan."""
        self._reap()
        return [self._row(name) for name in SERVER_NAMES]

    def env(self) -> dict[str, str]:
        """Return the LAKEMILL_ variables of this stack; empty before the first start."""
        return read_env(self.state_dir)

    def dagster_env(self) -> dict[str, str]:
        """Return the variables with which a program opens this stack's Dagster instance."""
        return self.env() | DagsterServers(self._site()).env

    def _row(self, name: str) -> ServerStatus:
        record = self._records.read(name)
        if record is None:
            return ServerStatus(name, State.STOPPED, log=str(self.logs.of(name)))
        state = State.UP if record.ready_seconds is not None else State.STARTING
        if record.stopping:
            state = State.STOPPING
        elif leader(record) is None:
            state = State.DEAD
        return ServerStatus(name, state, record.address, record.log, record.pid, record.ready_seconds)

    def _record(self, name: str) -> ServerRecord:
        record = self._records.read(name)
        if record:
            return record
        if name in SERVER_NAMES:
            raise StackError(f"{name} was not started: run 'lakemill up'.")
        raise UnknownServerError(f"There is no server {name!r}; there are {', '.join(SERVER_NAMES)}.")

    def _stop_one(self, record: ServerRecord) -> None:
        self._records.mark_stopping(record)
        stop([record], reap=self._reap)
        self._records.remove(record.name)

    def _wait_for_ports(self, name: str) -> None:
        # A killed process is gone before its last thread has let go of its sockets.
        deadline = time.monotonic() + _PORT_SECONDS
        while self.ports.taken(name) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _refuse_second_start(self) -> None:
        alive = [record.name for record in self._records.all() if leader(record)]
        if alive:
            raise AlreadyRunningError(
                f"A stack already runs from {self.state_dir} ({', '.join(alive)}). "
                "See 'lakemill status'; stop it with 'lakemill down', restart one server with 'lakemill restart NAME'."
            )
        stop_all(self._records, self.state_dir, reap=self._reap)  # what a crash of the machine or a kill left over

    def _site(self) -> Site:
        java = find_java(java_home())
        self._check_jars()
        for folder in self._folders():
            folder.check()
            if folder.marker.exists() and not self.env():
                raise HalfWrittenStateError(f"the secrets ({ENV_FILE})", self.state_dir)
        variables = write_env(self.state_dir, self.ports, self._jars_dir)
        return Site(self.state_dir, self._jars_dir, self.ports, variables, java, self._definitions)

    def _folders(self) -> list[CompleteFolder]:
        return [CompleteFolder(name, self.state_dir / name) for name in ("postgres", "kafka")]

    def _check_jars(self) -> None:
        wrong = list(differences(read_sums(), present_sums(self._jars_dir)))
        if wrong:
            raise StackError(f"The jars in {self._jars_dir} are not complete ({wrong[0]}): run 'lakemill setup'.")

    def _starter(self, site: Site, progress: Progress) -> Starter:
        marks = {"LAKEMILL_STACK": str(self.state_dir), "LAKEMILL_STATE_DIR": str(self.state_dir)}
        env = inherited({**site.variables, **marks, **self._extra_env})
        return Starter(self._records, self.logs, env, self._children, progress)

    def _reap(self) -> None:
        for process in self._children.values():
            process.poll()
