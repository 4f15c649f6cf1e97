"""What is known of each started server, in ``run/NAME.json``: enough to find, judge and stop it from any process.

A process id alone says little, since systems use ids again; with the creation time it names one process for ever.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """One started server."""

    name: str
    pid: int
    create_time: float
    """Seconds from the machine's start to the process's, see ``birth``."""
    started_at: float
    """Unix seconds."""
    address: str
    log: str
    stop_signal: int
    wave: int
    """Servers of a lower wave stop first."""
    grace: float
    """Seconds from the stop signal to SIGKILL."""
    ready_seconds: float | None = None
    stopping: bool = False


class Records:
    """The folder of records of one stack."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "run"

    def write(self, record: ServerRecord) -> None:
        """Write the record whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        whole = self._folder / f".{record.name}.new"
        whole.write_text(json.dumps(asdict(record)))
        whole.replace(self._folder / f"{record.name}.json")

    def read(self, name: str) -> ServerRecord | None:
        """Return the record of ``name``, None when it was never started or was stopped."""
        try:
            return ServerRecord(**json.loads((self._folder / f"{name}.json").read_text()))
        except FileNotFoundError:
            return None

    def all(self) -> list[ServerRecord]:
        """Return every record, first started first."""
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        found = [record for record in map(self.read, names) if record]
        return sorted(found, key=lambda record: record.started_at)

    def mark_stopping(self, record: ServerRecord) -> None:
        """Note that the server's end is wanted, so that nobody reports it as a death."""
        self.write(replace(record, stopping=True))

    def remove(self, name: str) -> None:
        """Forget the server."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)


def birth(process: psutil.Process) -> float:
    """Return when the process was created, in seconds after the machine's start: no clock correction moves that."""
    return round(float(process.create_time()) - float(psutil.boot_time()), 2)


def leader(record: ServerRecord) -> psutil.Process | None:
    """Return the server's own process while it lives; a zombie, or another process with its id, is not it."""
    try:
        process = psutil.Process(record.pid)
        same = birth(process) == record.create_time
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def members(record: ServerRecord) -> list[psutil.Process]:
    """Return every living process of the server's session: itself, run workers, JVMs, even after its own death."""
    return list(_session(record))


def _session(record: ServerRecord) -> Iterator[psutil.Process]:
    if psutil.pid_exists(record.pid) and _reused(record):
        return
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == record.pid and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue


def _reused(record: ServerRecord) -> bool:
    """Whether the id belongs to a younger process now; a session that still has members keeps its id from reuse."""
    try:
        return birth(psutil.Process(record.pid)) != record.create_time
    except psutil.NoSuchProcess:
        return False


def strays(state_dir: Path) -> list[psutil.Process]:
    """Return living processes that carry this stack's mark in their environment, whatever session they went to."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get("LAKEMILL_STACK")
            if mark == str(state_dir) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
