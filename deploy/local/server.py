"""What a server and a step are, and how one is spawned."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.records import ServerRecord, birth

STORAGE_WAVE = 1
"""Servers that the others write to stop in a second wave."""


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Server:
    """A process that stays. It may start when all it ``needs`` are ready, and is ready when ``is_ready`` says so."""

    name: str
    command: tuple[str, ...]
    address: str
    is_ready: Callable[[float], bool]
    """Gets the Unix time of the start; asks the server itself and never waits long."""
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = _nothing
    """Runs before each start: makes the state folder when there is none."""
    settle: Callable[[], None] = _nothing
    """Runs when the server is ready and before anything that needs it: databases, topics."""
    deadline: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    wave: int = 0
    grace: float = 6.0
    """Seconds that the server has to end by itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command that must end well before what needs it may start."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    deadline: float = 60.0


@dataclass(frozen=True, slots=True)
class Logs:
    """One log file for each server and step; the log of the start before is kept as ``NAME.log.1``."""

    folder: Path

    def of(self, name: str) -> Path:
        """Return the file of ``name``."""
        return self.folder / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        """Return the last lines of the file, or a word about its absence."""
        try:
            with self.of(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 65_536))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return "(no log was written)"
        return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"

    def turn(self, name: str) -> Path:
        """Make room for a new log and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.of(name)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        return path


def spawn(node: Server | Step, env: Mapping[str, str], cwd: Path, logs: Logs) -> subprocess.Popen[bytes]:
    """Start the command as the leader of its own session, with all it prints in its log file."""
    with logs.turn(node.name).open("wb") as log:
        return subprocess.Popen(
            node.command,
            env={**env, **node.env, "LAKEMILL_SERVER": node.name},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def describe(server: Server, pid: int, logs: Logs) -> ServerRecord:
    """Return the record of a server that was spawned just now and not yet reaped."""
    return ServerRecord(
        name=server.name,
        pid=pid,
        create_time=birth(psutil.Process(pid)),
        started_at=time.time(),
        address=server.address,
        log=str(logs.of(server.name)),
        stop_signal=int(server.stop_signal),
        wave=server.wave,
        grace=server.grace,
    )
